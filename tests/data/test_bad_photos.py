"""Photos that cannot be used are left out if the user asks for it: exactly these, by name, in every kind of source."""

import shutil
from pathlib import Path

import pytest
from tests.training.small_runs import write_photos

from allmlp import ConfigError, DataError, open_dataset
from allmlp.data import read_skipped, skip_bad_photos, skip_photos, write_skipped
from allmlp.data.dataset import SkippedPhoto


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = write_photos(tmp_path / "photos", per_class=6)
    for name, content in (
        ("train/red/01.png", b""),
        ("train/blue/04.png", b"<html>not found</html>"),
        ("test/green/02.png", (folder / "test" / "green" / "02.png").read_bytes()[:-40]),
    ):
        (folder / name).write_bytes(content)
    return folder


BAD = {("train", "blue/04.png"), ("train", "red/01.png"), ("test", "green/02.png")}


@pytest.mark.parametrize("is_zip", [False, True])
def test_only_bad_photos_are_left_out(is_zip: bool, photos: Path, tmp_path: Path) -> None:
    source = Path(shutil.make_archive(str(tmp_path / "photos"), "zip", photos)) if is_zip else photos
    whole = open_dataset(source)
    dataset = skip_bad_photos(whole, num_workers=2)
    assert {(photo.split, photo.sample_id) for photo in dataset.skipped} == BAD
    for name, split in dataset.splits.items():
        kept = [index for index, sample_id in enumerate(whole.splits[name].sample_ids) if (name, sample_id) not in BAD]
        assert split.sample_ids == tuple(whole.splits[name].sample_ids[index] for index in kept)
        assert split.labels.tolist() == whole.splits[name].labels[kept].tolist()
        assert [split.read(position) for position in (0, 3)] == [
            whole.splits[name].read(kept[position]) for position in (0, 3)
        ]
    assert dataset.notes[-1] == (
        "3 photos cannot be used and are skipped: blue/04.png, red/01.png, green/02.png"
        if next(iter(whole.splits)) == "train"
        else "3 photos cannot be used and are skipped: green/02.png, blue/04.png, red/01.png"
    )


def test_a_data_set_without_bad_photos_stays_as_it_is(tmp_path: Path) -> None:
    dataset = open_dataset(write_photos(tmp_path / "photos", per_class=2))
    assert skip_bad_photos(dataset, num_workers=0) is dataset


def test_a_class_or_a_split_of_bad_photos_alone_is_refused(photos: Path) -> None:
    for path in (photos / "train" / "red").iterdir():
        path.write_bytes(b"")
    with pytest.raises(DataError, match=r"no photo of class red can be used, so they cannot be skipped\.") as caught:
        skip_bad_photos(open_dataset(photos), num_workers=0)
    _, *examples = str(caught.value).splitlines()
    named = [f"  {photos / 'train' / 'red' / f'{number:02}.png'}: the file is empty." for number in range(3)]
    assert examples == [*named, "  ... and 3 more"]  # and no photo of another class
    for path in (photos / "test").rglob("*.png"):
        path.write_bytes(b"")
    shutil.rmtree(photos / "train" / "red")
    shutil.rmtree(photos / "test" / "red")
    with pytest.raises(DataError, match="no photo of the split test can be used"):
        skip_bad_photos(open_dataset(photos), num_workers=0)


@pytest.mark.parametrize("lost", [("red",), ("blue", "green")])
def test_a_class_that_a_scoring_split_loses_is_a_note(lost: tuple[str, ...], photos: Path) -> None:
    for name in lost:
        for path in (photos / "test" / name).iterdir():
            path.write_bytes(b"")
    dataset = skip_bad_photos(open_dataset(photos), num_workers=0)
    assert dataset.notes[-1] == f"test has no photos left of {', '.join(map(repr, lost))}"
    again = skip_photos(open_dataset(photos), dataset.skipped)
    assert again.notes == dataset.notes


def test_the_list_is_read_back(tmp_path: Path) -> None:
    skipped = [
        SkippedPhoto("train", "a/1.jpg", "a/1.jpg: the file is empty. Replace it."),
        SkippedPhoto("test", 'b/x, "y"\nz \udce9.jpg', "two\nlines"),
    ]
    write_skipped(tmp_path / "skipped.csv", skipped)
    assert read_skipped(tmp_path / "skipped.csv") == skipped
    assert read_skipped(tmp_path / "none.csv") == []
    (tmp_path / "skipped.csv").write_text("split,sample_id\n")
    with pytest.raises(ConfigError, match=r"skipped\.csv: cannot be read as the skipped photos of a run"):
        read_skipped(tmp_path / "skipped.csv")


def test_a_photo_that_is_no_longer_there_is_not_missed(photos: Path) -> None:
    dataset = open_dataset(photos)
    skipped = SkippedPhoto("train", "red/99.png", "gone")
    assert skip_photos(dataset, [skipped]).splits["train"].sample_ids == dataset.splits["train"].sample_ids
