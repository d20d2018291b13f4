"""A resumed run does not decode the whole data set again, and finds a photo that was damaged meanwhile all the same."""

import dataclasses
import os
import shutil
from collections import Counter
from pathlib import Path

import pytest
from tests.training.same_run import assert_same_run
from tests.training.small_runs import TINY, write_photos
from tests.training.test_stored_run import StopAt

from allmlp import DataError, Recipe, train
from allmlp.data.decoding import check_photos
from allmlp.training import DataConfig

STREAMED = dataclasses.replace(TINY, data=DataConfig(storage="stream", num_workers=1))
IN_MEMORY = dataclasses.replace(TINY, data=DataConfig(storage="memory"))


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    return write_photos(tmp_path / "photos")


@pytest.fixture
def checked(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Count, by split, the photos that are decoded before the first step."""
    counts: Counter[str] = Counter()
    original = check_photos.decode

    def counted(content: bytes, *, name: str) -> object:
        counts["test" if "/test/" in name else "train"] += 1  # validation is held out of train
        return original(content, name=name)

    monkeypatch.setattr(check_photos, "decode", counted)
    return counts


def stop(recipe: Recipe, photos: Path, run: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        train(recipe, photos, run, progress=StopAt(2), resume=True)


def damage(photo: Path) -> None:
    """Turn a photo into zeros: same size, and the same modification time."""
    times = photo.stat()
    photo.write_bytes(bytes(times.st_size))
    os.utime(photo, ns=(times.st_atime_ns, times.st_mtime_ns))


@pytest.mark.parametrize(("recipe", "train_photos"), [(STREAMED, 3), (IN_MEMORY, 42)])
def test_only_what_is_kept_in_memory_is_decoded_again(
    recipe: Recipe, train_photos: int, photos: Path, tmp_path: Path, checked: Counter[str]
) -> None:
    run = tmp_path / "run"
    stop(recipe, photos, run)
    assert checked == {"train": 42, "test": 42}
    checked.clear()
    train(recipe, photos, run, resume=True)
    assert checked == {"train": train_photos, "test": 42}  # 3 are held out; small splits are kept for evaluation
    train(recipe, photos, tmp_path / "whole")
    assert_same_run(run, tmp_path / "whole")


@pytest.mark.parametrize("record", [None, b"", b"[]", b'{"fingerprint": 3}', b'{"fingerprint": "another"}'])
def test_without_the_record_of_these_photos_all_are_decoded_and_it_is_written(
    record: bytes | None, photos: Path, tmp_path: Path, checked: Counter[str]
) -> None:
    run = tmp_path / "run"
    stop(STREAMED, photos, run)
    path = run / "decoded.json"
    before = path.read_bytes()
    if record is None:  # a run of before there was one
        path.unlink()
    else:
        path.write_bytes(record)
    checked.clear()
    train(STREAMED, photos, run, resume=True)
    assert checked == {"train": 42, "test": 42}
    assert path.read_bytes() == before


def test_a_photo_damaged_after_the_check_is_named_before_the_next_session_trains(photos: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    stop(STREAMED, photos, run)
    damage(photos / "train" / "green" / "07.png")
    with pytest.raises(DataError, match=r"1 of 84 photos cannot be used(.|\n)*green/07\.png"):
        train(STREAMED, photos, run, resume=True)


def test_a_photo_damaged_while_training_streams_is_named(photos: Path, tmp_path: Path) -> None:
    class Damaging(StopAt):
        def step(self, step: int, **_: float) -> None:
            for photo in photos.glob("train/*/*.png"):
                if step == 1:
                    damage(photo)

    recipe = dataclasses.replace(STREAMED, num_epochs=9)
    with pytest.raises(DataError, match=r"\.png"):
        train(recipe, photos, tmp_path / "run", progress=Damaging(-1))


def swap(photos: Path, first: str, second: str) -> None:
    """Exchange the content of two photos of the train split: all names stay."""
    one, other = photos / "train" / first, photos / "train" / second
    content = one.read_bytes()
    one.write_bytes(other.read_bytes())
    other.write_bytes(content)


@pytest.mark.parametrize("recipe", [STREAMED, IN_MEMORY])
def test_a_run_is_not_resumed_on_photos_that_changed_under_the_same_names(
    recipe: Recipe, photos: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    stop(recipe, photos, run)
    swap(photos, "red/03.png", "blue/05.png")
    with pytest.raises(DataError) as caught:
        train(recipe, photos, run, resume=True)
    message = str(caught.value)
    assert message.startswith("2 of 84 photos cannot be used")
    assert (
        "red/03.png: this photo has changed since the run started" in message and "blue/05.png: this photo" in message
    )
    swap(photos, "red/03.png", "blue/05.png")
    train(recipe, photos, run, resume=True)


def test_the_same_bytes_in_another_place_and_form_go_on(photos: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    stop(TINY, photos, run)
    archive = Path(shutil.make_archive(str(tmp_path / "elsewhere"), "zip", photos))
    shutil.rmtree(photos)
    train(TINY, archive, run, resume=True)


def test_a_photo_that_changes_while_training_streams_is_named(photos: Path, tmp_path: Path) -> None:
    class Swap(StopAt):
        def step(self, step: int, **_: float) -> None:
            if step == 1:
                for name in ("blue", "green", "red"):
                    for index in range(0, 14, 2):  # all photos of the same size, so that some of them are read later
                        swap(photos, f"{name}/{index:02}.png", f"{name}/{(index + 2) % 14:02}.png")

    with pytest.raises(DataError, match=r"\.png: this photo has changed since the run started"):
        train(STREAMED, photos, tmp_path / "run", progress=Swap(-1))


def test_a_run_of_an_older_version_reads_everything_and_goes_on(
    photos: Path, tmp_path: Path, checked: Counter[str]
) -> None:
    run = tmp_path / "run"
    stop(STREAMED, photos, run)
    before = (run / "photos.csv").read_bytes()
    (run / "photos.csv").unlink()
    checked.clear()
    train(STREAMED, photos, run, resume=True)
    assert checked == {"train": 42, "test": 42}
    assert (run / "photos.csv").read_bytes() == before
