"""What stands in the parts, and what happens to photos, sources and part files between two runs."""

import dataclasses
import errno
import gc
import os
import re
import shutil
import socket
import time
import tracemalloc
from pathlib import Path

import numpy as np
import pyarrow.dataset
import pyarrow.parquet as pq
import pytest
from tests.bulk.conftest import png

from allmlp import Embedder, Predictor
from allmlp.bulk import compute_parts, load_model, read_results
from allmlp.bulk.part_files import owner
from allmlp.data import ShortageError
from allmlp.errors import AllmlpError, CheckpointError, ConfigError, DataError
from allmlp.io import atomic_write
from allmlp.io.atomic_write import leftovers
from allmlp.io.display import discard, no_progress


def rows_of(folder: Path) -> list[dict]:
    return pyarrow.dataset.dataset(folder).to_table().to_pylist()


def bytes_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir()) if path.name != "_claims"}


def test_the_rows_are_the_answers_of_the_predictor_in_order(photos, begin, compute, checkpoint):
    compute(begin(Path("out"), photos, top_k=2, min_score=0.5))
    rows = rows_of(Path("out"))
    assert [row["index"] for row in rows] == list(range(12))
    assert rows[0]["path"] == "photos/bad.jpg"
    assert rows[0]["label_1"] is rows[0]["score_2"] is rows[0]["unsure"] is None
    assert rows[0]["error"].startswith("photos/bad.jpg: ")
    expected = Predictor.from_checkpoint(checkpoint, device="cpu").predict([row["path"] for row in rows[1:]], top_k=2)
    for row, prediction in zip(rows[1:], expected, strict=True):
        found = [(row[f"label_{rank}"], row[f"score_{rank}"]) for rank in (1, 2)]
        assert found == [(label["label"], label["score"]) for label in prediction.labels]
        assert row["unsure"] is (prediction.score < 0.5)
        assert row["error"] is None
    assert sorted(path.name for path in Path("out").glob("part-*")) == [f"part-{n:05d}.parquet" for n in range(3)]


def test_embedded_rows_hold_the_features(photos, begin, compute, checkpoint):
    compute(begin(Path("out"), photos, task="embed"))
    rows = rows_of(Path("out"))
    embedder = Embedder.from_checkpoint(checkpoint, device="cpu")
    expected = embedder.embed([row["path"] for row in rows[1:]])
    assert rows[0]["features"] is None
    assert np.array_equal(np.array([row["features"] for row in rows[1:]], dtype=np.float32), expected)
    kind = pq.read_schema("out/part-00000.parquet").field("features").type
    assert str(kind) == f"fixed_size_list<element: float>[{embedder.num_features}]"


def test_the_same_plan_gives_the_same_bytes_in_any_order_and_batch_size(photos, begin, compute):
    compute(begin(Path("a"), photos))
    compute(begin(Path("b"), photos), batch_size=3)
    Path("b/part-00001.parquet").unlink()
    compute(begin(Path("b"), photos))
    assert bytes_of(Path("a")) == bytes_of(Path("b"))


def test_parts_that_are_done_are_not_computed_again(photos, begin, compute):
    results = compute(begin(Path("out"), photos))
    before = {path: path.stat().st_mtime_ns for path in Path("out").glob("part-*")}
    shutil.rmtree("photos/sub")  # nothing is read
    compute(results)
    assert {path: path.stat().st_mtime_ns for path in Path("out").glob("part-*")} == before


def test_photos_that_changed_or_vanished_after_the_plan_are_rows_with_an_error(photos, begin, compute):
    results = begin(Path("out"), photos)
    Path("photos/sub/03.png").write_bytes(png(99, (8, 8)))
    Path("photos/sub/04.png").unlink()
    Path("photos/sub/99.png").write_bytes(png(5))  # not in the plan
    compute(results)
    errors = {row["path"]: row["error"] for row in rows_of(Path("out")) if row["error"]}
    assert "has changed since the plan was made" in errors["photos/sub/03.png"]
    assert errors["photos/sub/04.png"] == "photos/sub/04.png: this photo cannot be read: no such file or directory."
    assert set(errors) == {"photos/bad.jpg", "photos/sub/03.png", "photos/sub/04.png"}
    assert [state.num_errors for state in results.states()] == [2, 1, 0]


def test_a_source_that_is_gone_stops_the_run_and_is_not_a_million_errors(photos, begin, compute):
    results = begin(Path("out"), photos)
    photos.rename("elsewhere")
    with pytest.raises(DataError, match="photos: the photos of the plan are not there"):
        compute(results)
    assert not list(Path("out").glob("part-*"))
    Path("elsewhere").rename(photos)
    compute(results)
    assert all(state.is_done for state in results.states())


@pytest.mark.parametrize("source", ["photos/sub/*.png", "photos/sub/03.png", "list.csv"])
def test_photos_named_one_by_one_whose_folder_is_gone_stop_the_run(source, photos, begin, compute):
    Path("list.csv").write_text("path\nphotos/sub/01.png\nphotos/sub/02.png\n")
    results = begin(Path("out"), source)
    (photos / "sub").rename("elsewhere")
    with pytest.raises(DataError, match="photos/sub: the photos of the plan are not there"):
        compute(results)
    assert not list(Path("out").glob("part-*"))


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: b"",
        lambda content: content[:-40],
        lambda content: content[:9],
        lambda content: content[:1],
        lambda content: content[:3],
        lambda content: bytes(len(content)),
        lambda content: bytes(2),
    ],
    ids=["nothing", "without its end", "9 bytes", "1 byte", "3 bytes", "zeros", "2 zeros"],
)
def test_a_part_that_was_cut_short_is_named_and_computed_again(damage, photos, begin, compute):
    results = compute(begin(Path("out"), photos))
    before = bytes_of(Path("out"))
    path = Path("out/part-00001.parquet")
    path.write_bytes(damage(path.read_bytes()))
    lines: list[str] = []
    compute(results, report=lines.append)
    assert lines == ["out/part-00001.parquet: this part is damaged or cut short; computed again."]
    assert bytes_of(Path("out")) == before


def test_a_file_that_is_not_a_part_of_the_plan_is_refused(photos, begin, compute):
    results = compute(begin(Path("out"), photos))
    compute(begin(Path("other"), photos, top_k=1))
    part = Path("out/part-00001.parquet")
    shutil.copy("other/part-00001.parquet", part)
    with pytest.raises(ConfigError, match=r"part-00001.parquet: this is a part of another plan"):
        compute(results)
    shutil.copy("out/part-00002.parquet", part)
    with pytest.raises(ConfigError, match="another plan"):
        compute(results)
    part.write_text("my notes")
    with pytest.raises(ConfigError, match="is not a part of the plan next to it"):
        compute(results)
    assert part.read_text() == "my notes"
    part.unlink()
    shutil.copy("out/part-00000.parquet", "out/part-00003.parquet")
    with pytest.raises(ConfigError, match=r"part-00003.parquet: not of the plan, which has 3 parts"):
        compute(results)


def test_leftovers_of_killed_processes_of_this_machine_are_removed(photos, begin, compute):
    """Those of another machine only if they are old: it may be at work though no lock says so here."""
    results = begin(Path("out"), photos)
    own, other, old, older = (
        Path("out", f".part-00001.parquet.{by}abcd1234.part")
        for by in (f"{owner()}.", "elsewhere-1.", "elsewhere-2.", "")
    )
    for path in (own, other, old, older):
        path.write_bytes(b"PAR1")
    for path in (old, older):
        os.utime(path, (time.time() - 4000,) * 2)
    compute(results)
    assert list(Path("out").glob(".*")) == [other]


def test_the_name_of_a_temporary_file_says_who_writes_it(photos, begin, compute, monkeypatch):
    results = begin(Path("out"), photos)
    names: list[str] = []
    rename = atomic_write._rename

    def noted(old: Path, new: Path) -> None:
        names.append(old.name)
        rename(old, new)

    monkeypatch.setattr(atomic_write, "_rename", noted)
    monkeypatch.setattr(socket, "gethostname", lambda: "gpu.7/cluster")
    compute(results)
    expected = rf"\.part-00000\.parquet\.gpu-7-cluster-{os.getpid()}\.[0-9a-z_]{{8}}\.part"
    assert re.fullmatch(expected, names[0])
    assert leftovers(Path("out"), prefix="part-") == []


def test_a_disk_that_does_not_answer_makes_no_rows_with_errors(photos, begin, compute, monkeypatch):
    results = begin(Path("out"), photos)
    stat = os.stat

    def fail(path, *arguments, **options):
        if str(path).endswith("03.png"):
            raise OSError(errno.ETIMEDOUT, os.strerror(errno.ETIMEDOUT), path)
        return stat(path, *arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(os, "stat", fail)
        with pytest.raises(
            ShortageError, match=r"photos/sub/03\.png: this photo cannot be read: the disk, or the network"
        ):
            compute(results)
    assert not Path("out/part-00000.parquet").exists()
    compute(results)
    assert sum(state.num_errors for state in results.states()) == 1  # bad.jpg


def test_a_part_on_a_disk_that_does_not_answer_is_not_damaged(photos, begin, compute, monkeypatch):
    results = compute(begin(Path("out"), photos))

    def fail(*_: object) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(pq, "ParquetFile", fail)
    with pytest.raises(
        ConfigError, match=r"part-00000\.parquet: cannot be read: the disk, or the network, does not answer"
    ):
        results.state(0)


@pytest.mark.parametrize("task", ["predict", "embed"])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_outputs_that_are_not_finite_are_no_answers(task, value, photos, begin, checkpoint):
    results = begin(Path("out"), photos, task=task)
    output = "features" if task == "embed" else "logits"
    model = load_model(str(checkpoint), results.plan.model_options).open(output)

    def forward(images):
        outputs = model.forward(images)
        outputs[-1, 0] = value
        return outputs

    broken = dataclasses.replace(model, forward=forward)
    with pytest.raises(
        CheckpointError, match=r"outputs are NaN or infinite for 1 of 4 photos .*, photos/sub/03\.png first"
    ):
        compute_parts(results, lambda: broken, batch_size=5, progress=no_progress, report=discard)
    assert not list(Path("out").glob("part-*"))


def test_a_changed_zip_stops_the_run(photos, begin, compute):
    shutil.make_archive("packed", "zip", "photos")
    results = begin(Path("out"), "packed.zip")
    Path("photos/sub/11.png").write_bytes(png(11))
    shutil.make_archive("packed", "zip", "photos")
    with pytest.raises(DataError, match=r"packed.zip: this file is missing or has changed since the plan was made"):
        compute(results)


def test_progress_counts_what_is_done_already(photos, begin, compute):
    results = compute(begin(Path("out"), photos))
    Path("out/part-00001.parquet").unlink()
    calls: list[tuple[int, int]] = []
    compute(results, progress=lambda done, total: calls.append((done, total)))
    assert calls == [(done, 12) for done in range(7, 13)]


def test_another_model_at_the_same_path_is_refused(photos, begin, checkpoint):
    from allmlp.bulk import open_plan_model

    results = begin(Path("out"), photos)
    path = Path("out/_plan.json")
    path.write_text(path.read_text().replace(str(checkpoint), str(checkpoint) + "-gone"))
    with pytest.raises(AllmlpError, match="gone"):
        open_plan_model(read_results(Path("out")))
    from tests.builders import tiny_checkpoint

    from allmlp import save_checkpoint

    other = save_checkpoint(tiny_checkpoint(seed=4), Path("other"))
    with pytest.raises(ConfigError, match="this is not the model of out"):
        open_plan_model(results, str(other))
    same = save_checkpoint(tiny_checkpoint(seed=3), Path("same"))
    assert open_plan_model(results, str(same)).output == "logits"


def test_memory_does_not_grow_with_the_number_of_photos(photos, begin, compute):
    """A list of photos that are all missing: the rows are as many, and no time is spent on decoding."""
    compute(begin(Path("warm"), photos))
    Path("list.csv").write_text("path\n" + "".join(f"photos/sub/missing-{n:06d}.png\n" for n in range(3_000)))
    results = begin(Path("out"), "list.csv", part_size=250)
    kept = []

    def watch(done: int, total: int) -> None:
        if done % 250 == 0:
            gc.collect()  # errors are in cycles with their tracebacks
            kept.append(tracemalloc.get_traced_memory()[0])

    tracemalloc.start()
    compute(results, progress=watch)
    tracemalloc.stop()
    assert sum(state.num_errors for state in results.states()) == 3_000
    assert max(kept[6:]) < 1.1 * max(kept[:6])
