"""`allmlp predict` and `allmlp embed` with `--out FOLDER/`, and `allmlp search`."""

import json
import os
import shlex
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image
from sklearn.metrics.pairwise import cosine_similarity
from tests.builders import tiny_checkpoint, unknown_rule

from allmlp import Embedder, load_checkpoint, open_model, save_checkpoint
from allmlp.bulk import (
    ModelOptions,
    PlanOptions,
    Request,
    compute_parts,
    find_listed,
    load_model,
    open_results,
)
from allmlp.cli.outputs.bulk_options import BulkOptions
from allmlp.cli.outputs.bulk_run import answer_in_bulk
from allmlp.data import DEFAULT_MAX_MEGAPIXELS, set_max_megapixels
from allmlp.errors import ConfigError
from allmlp.io.display import discard, no_progress


@pytest.fixture
def photos(tmp_path, monkeypatch, write_photo) -> Path:
    monkeypatch.chdir(tmp_path)
    for number in range(9):
        write_photo(tmp_path / "photos" / f"{number}.png", seed=number)
    return Path("photos")


def test_a_folder_of_results_is_written_and_the_same_command_has_nothing_left(photos, saved_checkpoint, allmlp):
    command = ("predict", saved_checkpoint, photos, "--out", "out/", "--part-size", 4, "--device", "cpu")
    outcome = allmlp(*command)
    assert outcome.code == 0, outcome.err
    assert outcome.out.startswith("Wrote out/ (")
    assert ": 9 photos in 3 parts\n" in outcome.out
    again = allmlp(*command)
    assert (again.code, again.out) == (0, outcome.out)
    assert "out/: 3 of 3 parts are done already." in again.err
    assert [path.name for path in sorted(Path("out").iterdir())] == [
        "_photos.parquet",
        "_plan.json",
        *(f"part-{part:05d}.parquet" for part in range(3)),
    ]


def test_the_rows_equal_those_of_a_file(photos, saved_checkpoint, allmlp):
    allmlp("predict", saved_checkpoint, photos, "-o", "one.parquet", "--top-k", 2, "--flip", "--device", "cpu")
    allmlp("predict", saved_checkpoint, photos, "-o", "out/", "--top-k", 2, "--flip", "--device", "cpu")
    rows = pq.read_table("out").drop_columns(["index", "error"])
    assert rows.to_pylist() == pq.read_table("one.parquet").to_pylist()


def test_the_printed_commands_run(photos, saved_checkpoint, allmlp):
    outcome = allmlp("embed", saved_checkpoint, photos, "-o", "it's here/", "--device", "cpu")
    read, search = (line.split("  #")[0].strip() for line in outcome.out.splitlines()[-2:])
    done = subprocess.run(read, shell=True, capture_output=True, text=True, check=True)
    assert "features" in done.stdout
    assert shlex.split(search)[-4:] == ["search", "PHOTO.jpg", "--in", "it's here"]


def test_a_folder_written_before_needs_no_slash(photos, saved_checkpoint, allmlp):
    allmlp("predict", saved_checkpoint, photos, "-o", "out/", "--device", "cpu")
    assert allmlp("predict", saved_checkpoint, photos, "-o", "out", "--device", "cpu").code == 0
    assert (
        allmlp("predict", saved_checkpoint, photos, "-o", "out2", "--device", "cpu").code == 2
    )  # a file without ending


def test_bad_photos_are_rows_and_exit_3(photos, saved_checkpoint, allmlp):
    (photos / "bad.jpg").write_bytes(b"")
    for task in ("predict", "embed"):
        outcome = allmlp(task, saved_checkpoint, photos, "-o", f"{task}/", "--device", "cpu")
        assert outcome.code == 3
        assert "1 of 10 could not be read: their rows have the reason in the column error." in outcome.err


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["-o", "out/", "--format", "csv"], "--format csv: a folder of results has Parquet files"),
        (["-o", "out/", "--sheet", "a.html"], "--sheet: not with --out FOLDER/"),
        (["-o", "out/", "--sort-into", "a", "--link", "hard"], "--sort-into and --link: not with --out FOLDER/"),
        (["-o", "out/", "--explain", "why"], "--explain: not with --out FOLDER/"),
        (["--processes", "2"], "--processes without a folder would have no effect; add --out FOLDER/."),
        (["-o", "a.csv", "--engine", "ray", "--part-size", "3"], "--engine and --part-size without a folder"),
        (["-o", "n" * 300 + ".csv"], "File name too long"),
        (["-o", "n" * 300 + "/"], "cannot be used (File name too long)"),
        (["-o", "file/"], "file: cannot be used (a file is where its folder should be)"),
        (["-o", "full/"], "full: this folder is not empty (x)"),
        (["-o", "out/", "-"], "--out FOLDER/ takes no photo from standard input"),
        (["-o", "out/", "missing"], "missing: there is no such file or folder."),
    ],
)
def test_what_has_no_effect_or_is_in_the_way_is_refused(options, words, photos, saved_checkpoint, allmlp):
    Path("file").touch()
    Path("full").mkdir()
    Path("full/x").touch()
    outcome = allmlp("predict", saved_checkpoint, photos, "--device", "cpu", *options)
    assert outcome.code in (2, 3)
    assert words in outcome.err
    assert not Path("out").exists()


@pytest.mark.parametrize("task", ["predict", "embed"])
def test_an_address_is_no_place_for_results(task, photos, saved_checkpoint, allmlp):
    before = sorted(Path().iterdir())
    outcome = allmlp(task, saved_checkpoint, photos, "-o", "s3://bucket/results/", "--device", "cpu")
    assert outcome.code == 2
    assert "s3://bucket/results/: cannot be written to (it is an address)" in outcome.err
    assert sorted(Path().iterdir()) == before


@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_photos_in_formats_that_are_not_read_are_rows_also_in_an_archive(
    kind, photos, saved_checkpoint, allmlp, monkeypatch
):
    for module in ("decode", "more_formats"):
        monkeypatch.setattr(f"allmlp.data.decoding.{module}.has_heic", lambda: False)
    (photos / "phone.HEIC").write_bytes(b"\0\0\0\x18ftypheic" + bytes(40))
    (photos / "raw.dng").write_bytes(b"II*\0\x10\0\0\0CR\2\0")
    (photos / "notes.txt").write_text("not a photo")
    archive = shutil.make_archive("packed", kind, "photos")
    outcome = allmlp("predict", saved_checkpoint, archive, "-o", "out/", "--device", "cpu")
    assert outcome.code == 3
    assert "2 of 11 could not be read" in outcome.err
    errors = "\n".join(filter(None, pq.read_table("out")["error"].to_pylist()))
    assert "phone.HEIC: this is a HEIC image. To read it, pip install 'allmlp[heic]'" in errors
    assert "raw.dng: this is a RAW photo of a camera" in errors


def test_a_process_of_torchrun_chooses_its_gpu_before_the_model_is_opened(photos, saved_checkpoint, monkeypatch):
    calls: list[object] = []

    def open_nothing(*_: object, **__: object) -> None:
        calls.append("open")
        raise ConfigError("no GPU here")

    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("LOCAL_RANK", "1")
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    monkeypatch.setattr("torch.cuda.set_device", calls.append)
    monkeypatch.setattr("allmlp.bulk.model.open_model", open_nothing)
    options = {"image_size": None, "changes": {}, "backend": "auto", "precision": "auto", "batch_size": 32}
    for device in ("auto", "cpu"):
        with pytest.raises(ConfigError, match="no GPU here"):
            answer_in_bulk(
                Path("out"),
                "predict",
                str(saved_checkpoint),
                [str(photos)],
                BulkOptions("local", None, None),
                device=device,
                **options,
            )
    assert calls == [1, "open", "open"]


def test_options_of_embed_that_need_a_file_are_refused(photos, saved_checkpoint, allmlp):
    outcome = allmlp("embed", saved_checkpoint, photos, "-o", "out/", "--nearest", photos / "0.png", "--split", "test")
    assert outcome.code == 2
    assert "--nearest and --split: not with --out FOLDER/" in outcome.err


def test_another_model_or_request_is_refused(photos, saved_checkpoint, tmp_path, allmlp):
    assert allmlp("predict", saved_checkpoint, photos, "-o", "out/", "--device", "cpu").code == 0
    other = save_checkpoint(tiny_checkpoint(seed=9), tmp_path / "other")
    outcome = allmlp("predict", other, photos, "-o", "out/", "--device", "cpu")
    assert outcome.code == 2
    assert f"out: holds the results of another model, {saved_checkpoint}" in outcome.err
    outcome = allmlp("embed", saved_checkpoint, photos, "-o", "out/", "--device", "cpu")
    assert "out: holds the results of `allmlp predict`, not embed." in outcome.err


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_read_only_folder_is_said(photos, saved_checkpoint, tmp_path, allmlp):
    (tmp_path / "locked").mkdir(mode=0o555)
    outcome = allmlp("predict", saved_checkpoint, photos, "-o", "locked/out/", "--device", "cpu")
    assert outcome.code == 2
    assert "locked/out: cannot be used (Permission denied)" in outcome.err


@pytest.fixture
def features(photos, saved_checkpoint, allmlp) -> Path:
    assert allmlp("embed", saved_checkpoint, photos, "-o", "out/", "--part-size", 2, "--device", "cpu").code == 0
    return Path("out")


def test_search_finds_what_scikit_learn_finds(photos, saved_checkpoint, features, allmlp):
    paths = [f"photos/{number}.png" for number in range(9)]
    vectors = Embedder.from_checkpoint(saved_checkpoint, device="cpu").embed(paths)
    similarities = cosine_similarity(vectors)[4]
    order = [index for index in np.argsort(-similarities, kind="stable") if index != 4][:3]
    outcome = allmlp("search", photos / "4.png", "--in", features, "--top-k", 3, "--json")
    assert outcome.code == 0, outcome.err
    found = json.loads(outcome.out)
    assert found["num_compared"] == 9
    assert [match["path"] for match in found["matches"]] == [paths[index] for index in order]
    assert np.allclose([match["similarity"] for match in found["matches"]], similarities[order], atol=1e-6)
    text = allmlp("search", photos / "4.png", "--in", features, "--top-k", 3).out.splitlines()
    assert [line.split()[1] for line in text] == ["photo", *(paths[index] for index in order)]


def test_search_takes_the_limit_of_the_plan_and_not_its_device(photos, saved_checkpoint, allmlp):
    options = ModelOptions(device="cuda")
    request = Request(
        task="embed",
        model=str(saved_checkpoint),
        model_sha256=load_model(str(saved_checkpoint), options).digest,
        model_options=options,
        options=PlanOptions(max_megapixels=1),
        photos=(str(photos.absolute()),),
    )
    results, _ = open_results(Path("out"), request, lambda: find_listed(["photos"], report=discard), report=discard)
    opened = open_model(saved_checkpoint, device="cpu", output="features")
    compute_parts(results, lambda: opened, progress=no_progress, report=discard)
    set_max_megapixels(DEFAULT_MAX_MEGAPIXELS)
    assert len(allmlp("search", photos / "0.png", "--in", "out").out.splitlines()) == 9
    Image.new("1", (1_000, 1_001)).save("large.png")
    refused = allmlp("search", "large.png", "--in", "out")
    assert refused.code == 3
    assert "the limit is 1,000,000. If you trust it, raise the limit: --max-megapixels 2" in refused.err
    assert allmlp("search", "large.png", "--in", "out", "--max-megapixels", 2).code == 0
    set_max_megapixels(DEFAULT_MAX_MEGAPIXELS)


def test_search_goes_on_without_the_parts_that_are_missing(photos, features, allmlp):
    (features / "part-00001.parquet").unlink()
    outcome = allmlp("search", photos / "0.png", "--in", features)
    assert outcome.code == 0
    assert "2 of 9 photos have no features: not computed yet, or not readable." in outcome.err


def test_search_refuses_another_model_predictions_and_damage(photos, saved_checkpoint, features, tmp_path, allmlp):
    other = save_checkpoint(tiny_checkpoint(seed=9), tmp_path / "other")
    outcome = allmlp("search", photos / "0.png", "--in", features, "--model", other)
    assert outcome.code == 2
    assert "other: this is not the model of out" in outcome.err
    allmlp("predict", saved_checkpoint, photos, "-o", "predictions/", "--device", "cpu")
    outcome = allmlp("search", photos / "0.png", "--in", "predictions")
    assert (outcome.code, "predictions: holds predictions, not features" in outcome.err) == (2, True)
    outcome = allmlp("search", photos / "0.png", "--in", photos)
    assert (outcome.code, "photos: there is no _plan.json in this folder" in outcome.err) == (2, True)
    part = features / "part-00002.parquet"
    content = bytearray(part.read_bytes())
    content[60] ^= 0xFF
    part.write_bytes(content)
    outcome = allmlp("search", photos / "0.png", "--in", features)
    assert outcome.code == 3
    assert "out/part-00002.parquet: this part is damaged" in outcome.err


@pytest.mark.parametrize("task", ["predict", "embed"])
@pytest.mark.parametrize("source", ["shards", "shards/train-000000.tar"])
def test_rows_of_tar_shards_equal_those_of_a_file_and_of_the_photos(task, source, photos, saved_checkpoint, allmlp):
    for number in range(9):
        (photos / "yak").mkdir(exist_ok=True)
        (photos / f"{number}.png").rename(photos / "yak" / f"{number}.png")
    assert allmlp("shard", photos, "shards").code == 0
    for given, out in ((source, "one.parquet"), (source, "out/"), (photos, "folder/")):
        outcome = allmlp(
            task, saved_checkpoint, given, "-o", out, "--device", "cpu", *(["--part-size", 4] * (out == "out/"))
        )
        assert outcome.code == 0, outcome.err
    rows = pq.read_table("out").drop_columns(["index", "error"]).to_pylist()
    assert rows == pq.read_table("one.parquet").to_pylist()
    assert rows[0]["path"] == "shards/train-000000.tar/000000000.png"

    def answers(table):
        return sorted(
            str({name: value for name, value in row.items() if name not in ("path", "index")}) for row in table
        )

    assert answers(rows) == answers(pq.read_table("folder").drop_columns(["error"]).to_pylist())


def test_unknown_is_a_column_that_equals_that_of_a_file(photos, saved_checkpoint, tmp_path, allmlp):
    (photos / "bad.jpg").write_bytes(b"")
    files = sorted(photos.glob("*.png"))
    features = Embedder.from_checkpoint(saved_checkpoint, device="cpu").embed(files).astype(float)
    scores = -np.square(features).sum(axis=1)
    checkpoint = load_checkpoint(saved_checkpoint)
    threshold = float(np.sort(scores)[3:5].mean())
    rule = unknown_rule(checkpoint.config.hidden_dim, threshold=threshold, kept=0.5, num_photos=9)
    cautious = save_checkpoint(checkpoint.replace(unknown=rule), tmp_path / "more cautious")
    for out in ("one.parquet", "out/"):
        assert allmlp("predict", cautious, photos, "-o", out, "--device", "cpu").code == 3
    table = pq.read_table("out")
    good = table.filter(table["error"].is_null()).drop_columns(["index", "error"])
    assert good.to_pylist() == pq.read_table("one.parquet").to_pylist()
    assert table["unknown"].to_pylist() == [*(value < rule.threshold for value in scores), None]
    outcome = allmlp("predict", cautious, photos, "-o", "out/", "--no-unknown", "--device", "cpu")
    assert outcome.code == 2
    assert "out: holds results with --unknown, not with --no-unknown. Give the same arguments" in outcome.err
    assert allmlp("predict", cautious, photos, "-o", "without/", "--no-unknown", "--device", "cpu").code == 3
    assert pq.read_table("without").equals(table.drop_columns(["unknown"]))


def test_a_model_that_has_moved_goes_on_also_in_other_processes(photos, saved_checkpoint, tmp_path, allmlp):
    old, new = tmp_path / "old", tmp_path / "new"
    shutil.copytree(saved_checkpoint, old)
    assert allmlp("predict", old, photos, "-o", "out/", "--part-size", 1, "--device", "cpu").code == 0
    before = {path.name: path.read_bytes() for path in Path("out").iterdir()}
    old.rename(new)
    for part in (3, 4):
        Path(f"out/part-{part:05d}.parquet").unlink()
    outcome = allmlp("predict", new, photos, "-o", "out/", "--processes", 2, "--device", "cpu")
    assert outcome.code == 0, outcome.err
    assert {path.name: path.read_bytes() for path in Path("out").iterdir()} == before


def test_search_with_a_model_that_has_moved(photos, saved_checkpoint, tmp_path, allmlp):
    old, new = tmp_path / "old", tmp_path / "new"
    shutil.copytree(saved_checkpoint, old)
    assert allmlp("embed", old, photos, "-o", "out/", "--device", "cpu").code == 0
    expected = allmlp("search", photos / "0.png", "--in", "out", "--top-k", 99).out
    assert len(expected.splitlines()) == 9  # a heading, and all photos but the one itself
    old.rename(new)
    outcome = allmlp("search", photos / "0.png", "--in", "out")
    assert outcome.code == 4
    assert outcome.err.count("If the model has moved, add --model CHECKPOINT.") == 1
    assert allmlp("search", photos / "0.png", "--in", "out", "--top-k", 99, "--model", new).out == expected


@pytest.mark.parametrize("name", ["n" * 300 + ".jpg", "missing.jpg", "photos"])
def test_a_query_that_is_no_photo_is_one_line(name, photos, saved_checkpoint, features, allmlp):
    for command in (
        ("search", name, "--in", features),
        ("embed", saved_checkpoint, photos, "--nearest", name, "--device", "cpu"),
    ):
        outcome = allmlp(*command)
        assert outcome.code in (2, 3)
        assert name[:200] in outcome.err
        assert len(outcome.err.strip().splitlines()) == 1
