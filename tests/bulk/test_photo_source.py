"""Files that hold many photos: one is open at a time, and none may change while its photos are read."""

import gc
import os
import shutil
import weakref
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.bulk.conftest import png
from tests.data.photo_sources import write_folder, write_tar
from tests.servers.files import FileServer

from allmlp.bulk import photo_source
from allmlp.bulk.list_file import read_part_of_list
from allmlp.bulk.photo_source import PhotoSource
from allmlp.data import ShortageError, open_dataset, open_numbered_photos, write_shards
from allmlp.data.sources.tar_shards import manifest, remote_shards
from allmlp.errors import DataError
from allmlp.io.file_kinds import sha256_of


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
    monkeypatch.setattr(
        photo_source,
        "open_numbered_photos",
        lambda *names, **options: noted(open_numbered_photos(*names, **options), opened),
    )
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


@pytest.fixture
def at_an_address(tmp_path, monkeypatch) -> Iterator[str]:
    """The address of one shard with eight photos."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ALLMLP_HOME", str(tmp_path / "cache"))
    remote_shards._opened.cache_clear()
    photos = {f"{name}/{number}.png": png(number) for number in range(4) for name in ("cat", "owl")}
    write_shards(open_dataset(write_folder(tmp_path / "photos", photos)), tmp_path / "shards")
    with FileServer(files={f"f/{path.name}": path.read_bytes() for path in Path("shards").iterdir()}) as server:
        yield f"{server.url}/f/"


def copies() -> list[Path]:
    return list(Path("cache/remote-shards").glob("*.tar"))


LOSSES = {
    "deleted": lambda path: path.unlink(),
    "cut short": lambda path: path.write_bytes(path.read_bytes()[:600]),
    "overwritten": lambda path: path.write_bytes(bytes(path.stat().st_size)),
}


@pytest.mark.parametrize("lose", LOSSES.values(), ids=LOSSES)
def test_a_copy_of_a_shard_that_is_lost_before_its_photos_are_read_makes_no_rows(lose, at_an_address, begin, compute):
    results = begin(Path("out"), at_an_address)
    source = PhotoSource(results.plan)
    photos = list(source.photos(rows_of(results)))
    before = [photo.read_bytes() for photo in photos]
    (copy,) = copies()
    lose(copy)
    for photo in photos:
        with pytest.raises(
            ShortageError, match=r"\.tar/.*: this photo cannot be read: .*, the copy of its shard, was del"
        ):
            photo.read_bytes()
    results = compute(results)  # downloads it again
    assert [state.num_errors for state in results.states()] == [0, 0]
    assert [photo.read_bytes() for photo in photos] == before


@pytest.mark.parametrize("lose", LOSSES.values(), ids=LOSSES)
def test_a_copy_of_a_shard_that_is_lost_during_a_part_is_noticed_afterwards(lose, at_an_address, begin):
    results = begin(Path("out"), at_an_address)
    source = PhotoSource(results.plan)
    for photo in source.photos(rows_of(results)):
        photo.read_bytes()
    source.check()
    list(source.photos(rows_of(results)))
    (copy,) = copies()
    lose(copy)
    with pytest.raises(
        ShortageError, match=r"\.tar: .*, the copy of this shard, was deleted or changed while its photos"
    ):
        source.check()


def test_the_digest_of_a_copy_is_computed_again_only_if_it_has_changed(at_an_address, begin, monkeypatch):
    results = begin(Path("out"), at_an_address)
    source = PhotoSource(results.plan)
    list(source.photos(rows_of(results)))
    hashed: list[Path] = []
    monkeypatch.setattr(manifest, "sha256_of", lambda path: hashed.append(path) or sha256_of(path))
    source.check()
    assert len(hashed) <= 1  # of a copy that was downloaded, and never opened again
    hashed.clear()
    list(source.photos(rows_of(results)))
    source.check()
    assert not hashed
    list(source.photos(rows_of(results)))
    (copy,) = copies()
    os.utime(copy, (1, 1))
    source.check()
    assert hashed == [copy.absolute()]
