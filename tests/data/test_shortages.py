"""A lack of memory or open files while photos are read: reported as such, and no photo is called bad or left out for it."""

import errno
import os
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pyarrow as pa
import pytest
from tests.data.photo_sources import write_parquet
from tests.training.small_runs import write_photos

from allmlp import DataError, open_dataset
from allmlp.data import ImageDataset, check, skip_bad_photos
from allmlp.data.decoding.check_photos import check_photos

ERRORS = {
    "memory": (MemoryError, "not enough memory"),
    "open files": (partial(OSError, errno.EMFILE, os.strerror(errno.EMFILE)), "too many files are open"),
    "the system's memory": (partial(OSError, errno.ENOMEM, os.strerror(errno.ENOMEM)), "not enough memory"),
}
PLACES = ["PIL.ImageFile.ImageFile.load", "pathlib.Path.open"]


def as_zip(folder: Path) -> Path:
    return Path(shutil.make_archive(str(folder), "zip", folder))


def as_parquet(folder: Path) -> Path:
    paths = sorted((folder / "train").rglob("*.png"))
    rows: list[tuple[str | None, bytes | None, object]] = [(p.name, p.read_bytes(), p.parent.name) for p in paths]
    return write_parquet(folder.parent / "photos.parquet", rows, names=None)


DOORS: dict[str, Callable[[ImageDataset], object]] = {
    "stop": lambda dataset: check_photos(dataset, splits=tuple(dataset.splits), num_workers=2),
    "skip": lambda dataset: skip_bad_photos(dataset, num_workers=2),
    "check": lambda dataset: check(dataset, use_cache=False, num_workers=2),
}


@pytest.mark.parametrize("place", PLACES, ids=["decoding", "reading"])
@pytest.mark.parametrize("kind", ERRORS)
@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("form", [Path, as_zip, as_parquet], ids=["folder", "zip", "parquet"])
def test_it_ends_the_command_and_blames_no_photo(
    place: str, kind: str, door: str, form: Callable[[Path], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = open_dataset(form(write_photos(tmp_path / "photos", per_class=2)))
    error, words = ERRORS[kind]

    def fail(*_: object, **__: object) -> None:
        raise error()

    with monkeypatch.context() as patch:
        patch.setattr(place, fail)
        with pytest.raises(DataError, match=f"cannot be read: .*{words}") as caught:
            DOORS[door](dataset)
    message = str(caught.value)
    assert "\n" not in message
    assert "photos" in message.partition(": this photo")[0]  # where it is
    assert not any(word in message for word in ("Replace", "damaged", "skip"))


def test_arrow_out_of_memory_is_no_damage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = as_parquet(write_photos(tmp_path / "photos", per_class=2))

    def fail(*_: object) -> None:
        raise pa.ArrowMemoryError("malloc of size 64 failed")

    monkeypatch.setattr("allmlp.data.sources.parquet.read_footer", fail)
    with pytest.raises(DataError, match="not enough memory") as caught:
        open_dataset(source)
    assert "copy or download" not in str(caught.value)
