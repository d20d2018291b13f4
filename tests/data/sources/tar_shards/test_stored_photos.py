"""Photos in tar files as they are for prediction: with or without classes, listed by the headers."""

import os
import shutil
import tarfile
from pathlib import Path

import pytest
from tests.data.photo_sources import SPLIT, write_folder, write_tar

from allmlp.data import MAX_PHOTO_BYTES, open_dataset, open_numbered_photos, stored_photos, write_shards
from allmlp.errors import DataError

MEMBERS = [("a/0.jpg", b"first"), ("a/0.cls", b"1"), ("1.PNG", b"second"), ("._1.png", b""), ("notes.txt", b"")]


def test_photos_of_a_tar_and_of_a_folder_of_tars(tmp_path: Path) -> None:
    paths = [write_tar(tmp_path / "shards" / f"{number:05}.tar", MEMBERS) for number in range(2)]
    assert [photo.name for photo in stored_photos(paths[0]) or ()] == [f"{paths[0]}/a/0.jpg", f"{paths[0]}/1.PNG"]
    photos = stored_photos(tmp_path / "shards") or []
    assert [photo.read() for photo in photos] == [b"first", b"second"] * 2
    assert [photo.path for photo in photos] == [paths[0]] * 2 + [paths[1]] * 2


def test_other_sources_have_none(tmp_path: Path) -> None:
    write_folder(tmp_path / "photos", {"cat/0.jpg": b"", "x.tar": b""})
    (tmp_path / "not.tar").write_bytes(b"x" * 2000)
    assert stored_photos(tmp_path / "photos") is None
    assert stored_photos(tmp_path / "not.tar") is None
    assert stored_photos(tmp_path / "missing.tar") is None


def test_what_is_wrong_with_a_tar_is_said_before_any_photo_is_read(tmp_path: Path) -> None:
    path = write_tar(tmp_path / "x.tar", MEMBERS)
    whole = path.read_bytes()
    path.write_bytes(whole[:1200])
    with pytest.raises(DataError, match=r"x\.tar: it is cut short: .*; pack or download it again\."):
        stored_photos(path)
    write_tar(path, [("../0.jpg", b"")])
    with pytest.raises(DataError, match=r"x\.tar: \.\./0\.jpg is refused: a path outside of the shard"):
        stored_photos(path)
    write_tar(path, [("0.txt", b"")])
    with pytest.raises(DataError, match="no photos in these tar files"):
        stored_photos(path)


def test_a_photo_that_is_gone_is_named(tmp_path: Path) -> None:
    path = write_tar(tmp_path / "x.tar", MEMBERS)
    (photo, _) = stored_photos(path) or ()
    path.write_bytes(path.read_bytes()[:514])
    with pytest.raises(DataError, match=r"x\.tar/a/0\.jpg: this photo cannot be read: the shard has become shorter"):
        photo.read()
    path.unlink()
    with pytest.raises(DataError, match=r"x\.tar/a/0\.jpg: this photo cannot be read: no such file"):
        photo.read()


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """Shards that `write_shards` wrote, with their list."""
    write_shards(open_dataset(write_folder(tmp_path / "photos", SPLIT)), tmp_path / "own", shard_bytes=30_000)
    return tmp_path / "own"


def refusal(source: Path, *, compare: bool = True) -> str:
    with pytest.raises(DataError) as caught:
        stored_photos(source, compare=compare)
    return str(caught.value)


@pytest.mark.parametrize("compare", [True, False])
def test_missing_shards_of_a_folder_are_named(compare: bool, own: Path, tmp_path: Path) -> None:
    for number in (0, 1, 3):
        write_tar(tmp_path / "foreign" / f"train-{number:06}.tar", MEMBERS)
    message = refusal(tmp_path / "foreign", compare=compare)
    assert f"{tmp_path / 'foreign'}: shards are missing: train-000002.tar; download them too; " in message
    assert f"to do without them, give the shards instead of their folder: {tmp_path / 'foreign' / '*.tar'}." in message
    shards = sorted(own.glob("train-*.tar"))
    shards[-1].unlink()  # without a gap in the numbers
    assert f"1 shard missing that shards.json lists: {shards[-1].name}; restore" in refusal(own, compare=compare)
    assert stored_photos(shards[0], compare=compare)


def test_a_shard_of_another_size_or_digest_than_listed_is_named(own: Path) -> None:
    shards = sorted(own.glob("train-*.tar"))
    contents = [path.read_bytes() for path in shards]
    shards[0].write_bytes(contents[0] + bytes(512))
    size = f"it has {len(contents[0]) + 512:,} bytes, but {len(contents[0]):,} according to shards.json"
    for compare in (True, False):
        assert f"{own}: {shards[0].name}: {size}" in refusal(own, compare=compare)
        assert f"{shards[0]}: {size}" in refusal(shards[0], compare=compare)
    at = contents[0].index(b"train")  # in a photo
    shards[0].write_bytes(contents[0][:at] + b"T" + contents[0][at + 1 :])
    assert stored_photos(own, compare=False)
    digest = "its SHA-256 is not the one in shards.json: it has changed since it was written"
    assert f"{own}: {shards[0].name}: {digest}" in refusal(own)
    assert f"{shards[0]}: {digest}" in refusal(shards[0])
    with pytest.raises(DataError, match=r"its SHA-256 is not the one in shards\.json"):
        open_numbered_photos(shards[0])
    shards[1].write_bytes(contents[1][:-512])
    assert f"{own}: 2 problems:\n  {shards[0].name}: its SHA-256" in (both := refusal(own))
    assert f"\n  {shards[1].name}: it has " in both
    shutil.copyfile(shards[2], shards[0])  # a good shard under the name of another one
    assert f"{shards[0].name}: it" in refusal(own)


def test_the_digest_of_a_shard_is_computed_once_unless_it_changes(own: Path) -> None:
    path = min(own.glob("train-*.tar"))
    photos = stored_photos(path)
    whole, status = path.read_bytes(), path.stat()
    path.write_bytes(whole.replace(b"train", b"TRAIN"))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert stored_photos(path) == photos  # of the same size and time
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns + 1))
    assert "its SHA-256 is not the one" in refusal(path)


def test_a_member_that_occurs_twice_is_named_with_its_shard(tmp_path: Path) -> None:
    write_tar(tmp_path / "shards" / "0.tar", MEMBERS)
    path = write_tar(tmp_path / "shards" / "1.tar", [*MEMBERS, ("./a/0.jpg", b"another"), ("a/0.cls", b"1")])
    assert refusal(path) == f"{path}: members that occur twice (1): a/0.jpg; keep one of each."
    assert refusal(path.parent) == f"{path.parent}: 1.tar: members that occur twice (1): a/0.jpg; keep one of each."


def test_a_photo_of_a_shard_that_has_changed_since_it_was_opened_is_refused(tmp_path: Path) -> None:
    path = write_tar(tmp_path / "x.tar", MEMBERS)
    (photo, _) = stored_photos(path) or ()
    status = path.stat()
    path.write_bytes(path.read_bytes().replace(b"first", b"FIRST"))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns + 1))
    with pytest.raises(DataError, match=r"x\.tar/a/0\.jpg: .*: the shard has changed since it was opened"):
        photo.read()


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "x.tar")
    assert stored_photos(tmp_path / "x.tar") is None


def test_a_photo_that_is_too_large_is_one_reason_and_the_others_are_read(tmp_path: Path) -> None:
    path = write_tar(tmp_path / "x.tar", MEMBERS)
    others = path.read_bytes()
    large = tarfile.TarInfo("large.jpg")
    large.size = MAX_PHOTO_BYTES + 1
    with path.open("wb") as file:  # a hole, which takes no place on the disk
        file.write(large.tobuf(tarfile.USTAR_FORMAT))
        file.seek(-(-large.size // 512) * 512, os.SEEK_CUR)
        file.write(others)
    first, *rest = stored_photos(path) or ()
    with pytest.raises(
        DataError, match=r"x\.tar/large\.jpg: this photo cannot be read: larger than 200,000,000 bytes\."
    ):
        first.read()
    assert [photo.read() for photo in rest] == [b"first", b"second"]


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE])
def test_what_is_no_file_in_a_tar_is_refused(kind: bytes, tmp_path: Path) -> None:
    link = tarfile.TarInfo("0.jpg")
    link.type, link.linkname = kind, "/etc/passwd"
    assert "0.jpg is refused: " in refusal(write_tar(tmp_path / "x.tar", [*MEMBERS, link]))


def test_names_may_be_those_of_another_path(tmp_path: Path) -> None:
    path = write_tar(tmp_path / "x.tar", MEMBERS)
    opened = open_numbered_photos(path, shown="./x.tar")
    assert opened is not None
    assert opened.names == ["x.tar/a/0.jpg", "x.tar/1.PNG"]
