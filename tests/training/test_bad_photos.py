"""Training with bad photos: refused by default, or without exactly these, on any number of processes."""

import csv
import dataclasses
import random
from pathlib import Path

import pytest
from tests.forks import run_torchrun
from tests.training.same_run import assert_same_run
from tests.training.small_runs import TINY, write_photos
from tests.training.test_stored_run import StopAt

import allmlp
from allmlp import DataError, train
from allmlp.training import DataConfig

SKIPPING = dataclasses.replace(TINY, data=DataConfig(bad_photos="skip", num_workers=1))


def spoil(folder: Path, share: float) -> set[tuple[str, str]]:
    """Damage a share of the photos, at least one, in several ways; return their splits and sample IDs."""
    paths = sorted(folder.rglob("*.png"))
    chosen = random.Random(0).sample(paths, max(1, round(share * len(paths))))
    for number, path in enumerate(chosen):
        content = path.read_bytes()
        path.write_bytes(
            (b"", content[: len(content) // 2], b"GIF89a", content.replace(b"IDAT", b"IDAX", 1))[number % 4]
        )
    return {(path.relative_to(folder).parts[0], "/".join(path.relative_to(folder).parts[1:])) for path in chosen}


def skipped(run: Path) -> set[tuple[str, str]]:
    with (run / "skipped.csv").open(newline="") as file:
        return {(row["split"], row["sample_id"]) for row in csv.DictReader(file)}


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    return write_photos(tmp_path / "photos")


def test_bad_photos_stop_a_run_by_default_and_the_way_out_is_named(photos: Path, tmp_path: Path) -> None:
    bad = spoil(photos, 0.05)
    with pytest.raises(DataError) as caught:
        train(TINY, photos, tmp_path / "run")
    message = str(caught.value)
    assert message.startswith(f"{len(bad)} of 84 photos cannot be used") and "--bad-photos skip" in message
    assert all(sample_id in message for _, sample_id in bad)
    assert not (tmp_path / "run").exists()


def test_a_run_that_skips_equals_one_on_the_good_photos_alone(photos: Path, tmp_path: Path) -> None:
    bad = spoil(photos, 0.05)
    result = train(SKIPPING, photos, tmp_path / "run")
    assert skipped(tmp_path / "run") == bad == {photo[:2] for photo in result.dataset.skipped}
    assert f"{len(bad)} photos cannot be used and are skipped" in (tmp_path / "run" / "report.html").read_text()
    for split, sample_id in bad:
        (photos / split / sample_id).unlink()
    train(SKIPPING, photos, tmp_path / "good")
    assert not (tmp_path / "good" / "skipped.csv").exists()
    assert_same_run(tmp_path / "run", tmp_path / "good")


def test_a_resumed_run_skips_the_same_photos(photos: Path, tmp_path: Path) -> None:
    bad = spoil(photos, 0.05)
    with pytest.raises(KeyboardInterrupt):
        train(SKIPPING, photos, tmp_path / "run", progress=StopAt(2), resume=True)
    split, sample_id = sorted(bad)[0]
    (photos / split / sample_id).write_bytes(next((photos / split).rglob("*.png")).read_bytes())  # mended meanwhile
    train(SKIPPING, photos, tmp_path / "run", resume=True)
    assert skipped(tmp_path / "run") == bad
    good = next(path for path in sorted((photos / "train").rglob("*.png")) if path.stat().st_size > 100)
    good.write_bytes(b"")
    with pytest.raises(DataError, match=good.name):
        train(SKIPPING, photos, tmp_path / "run", resume=True)


def test_two_processes_skip_what_one_does(photos: Path, tmp_path: Path) -> None:
    write_photos(photos, per_class=34, splits=("train", "test"))  # 204 photos
    bad = spoil(photos, 0.01)
    assert len(bad) == 2
    ended = run_torchrun(
        2, "-m", "allmlp", "train", photos, "--recipe", "tests.training.small_runs:tiny", "--bad-photos", "skip",
        "--out", tmp_path / "run", "--device", "cpu",
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    assert skipped(tmp_path / "run") == bad


@pytest.mark.parametrize("choice", ["skip", "stop"])
def test_scoring_leaves_bad_photos_out_and_replaces_none(choice: str, photos: Path, tmp_path: Path) -> None:
    train(TINY, photos, tmp_path / "run")
    scored = allmlp.evaluate(tmp_path / "run", photos, device="cpu")
    bad = {photo for photo in spoil(photos, 0.2) if photo[0] == "test"}
    assert bad
    if choice == "stop":
        with pytest.raises(DataError, match=f"{len(bad)} of 42 photos cannot be used"):
            allmlp.evaluate(tmp_path / "run", photos, device="cpu")
        return
    rest = allmlp.evaluate(tmp_path / "run", photos, device="cpu", bad_photos="skip")
    assert rest.num_photos == scored.num_photos - len(bad) == rest.num_examples
    assert any("cannot be used and are skipped" in note for note in rest.notes)
    with pytest.raises(allmlp.ConfigError, match="bad_photos is 'ignore'; expected 'stop' or 'skip'"):
        allmlp.evaluate(tmp_path / "run", photos, device="cpu", bad_photos="ignore")  # type: ignore[arg-type]
