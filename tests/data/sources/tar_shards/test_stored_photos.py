"""Photos in tar files as they are for prediction: with or without classes, listed by the headers."""

from pathlib import Path

import pytest
from tests.data.photo_sources import write_folder, write_tar

from allmlp.data import stored_photos
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
