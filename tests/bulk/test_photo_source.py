"""Files that hold many photos: one is open at a time, and none may change while its photos are read."""

import gc
import os
import shutil
import weakref
from pathlib import Path

import pytest
from tests.bulk.conftest import png
from tests.data.photo_sources import write_tar

from allmlp.bulk import photo_source
from allmlp.bulk.photo_list import read_part_of_list
from allmlp.bulk.photo_source import PhotoSource
from allmlp.data import open_numbered_photos
from allmlp.errors import DataError


@pytest.fixture
def shards(tmp_path, monkeypatch) -> list[Path]:
    monkeypatch.chdir(tmp_path)
    return [
        write_tar(Path(f"shards/{shard}.tar"), [(f"{n}.png", png(3 * shard + n)) for n in range(3)])
        for shard in range(4)
    ]


def rows_of(results) -> list:
    return [row for part in range(results.plan.num_parts) for row in read_part_of_list(results.photo_list, part)]


def noted(photos, into: weakref.WeakSet):
    into.add(photos)
    return photos


def test_one_file_is_open_at_a_time(shards, begin, monkeypatch):
    results = begin(Path("out"), "shards")
    source = PhotoSource(results.plan)
    opened = weakref.WeakSet()
    monkeypatch.setattr(photo_source, "open_numbered_photos", lambda path: noted(open_numbered_photos(path), opened))
    for number, photo in enumerate(source.photos(rows_of(results))):
        assert photo.read_bytes() == png(number)
        del photo
        gc.collect()
        assert len(opened) == 1


def test_a_file_that_changes_while_its_photos_are_read_is_noticed_afterwards(shards, begin):
    results = begin(Path("out"), "shards")
    source = PhotoSource(results.plan)
    read = [photo.read_bytes() for photo in source.photos(rows_of(results))]
    source.check()
    list(source.photos(rows_of(results)))
    shutil.copy(shards[2], shards[1])
    with pytest.raises(DataError, match=r"shards/1.tar: this file is missing or has changed since the plan was made"):
        source.check()
    assert len(read) == 12


@pytest.mark.parametrize("task", ["predict", "embed"])
def test_a_shard_that_is_replaced_during_a_part_leaves_no_part(task, shards, begin, compute):
    results = begin(Path("out"), "shards", task=task, part_size=12)

    def replace(done: int, total: int) -> None:
        if done == 6:
            write_tar(shards[3], [(f"{n}.png", png(n)) for n in range(50, 53)])

    with pytest.raises(DataError, match=r"shards/3.tar: this file is missing or has changed"):
        compute(results, progress=replace, batch_size=2)
    assert not list(Path("out").glob("part-*"))


def test_what_is_no_file_of_the_listed_size_is_a_reason_and_never_waited_for(photos, begin):
    os.mkfifo("photos/pipe.png")
    Path("photos/list.csv").write_text("path\npipe.png\nsub\nsub/01.png\nbad.jpg\nvoid/\n")
    results = begin(Path("out"), "photos/list.csv")
    found = list(PhotoSource(results.plan).photos(rows_of(results)))
    Path("photos/bad.jpg").unlink()
    for photo, reason in zip(
        found, ["not a regular file", "a folder", None, "no such file or directory", "no such file"], strict=True
    ):
        if reason is None:
            assert photo.read_bytes() == png(1)
        else:
            with pytest.raises(DataError, match=f"this photo cannot be read: .*{reason}"):
                photo.read_bytes()
