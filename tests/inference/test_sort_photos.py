"""`PhotoSorter`: names that every system accepts, no collisions, and nothing partial or changed."""

import errno
import os
from pathlib import Path

import pytest

from allmlp import ConfigError
from allmlp.inference import PhotoSorter

CLASSES = ("cat", "CAT", "a/b", "..", "unsure", "con", "x" * 200, "é" * 200, "new\nline", ".git", "end. ", "日本")


def photo(path: Path, content: bytes = b"photo") -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return str(path)


def test_every_class_gets_its_own_safe_folder(tmp_path: Path) -> None:
    sorter = PhotoSorter(tmp_path / "sorted", CLASSES)
    source = photo(tmp_path / "1.jpg")
    folders = [sorter.add(source, name).parent for name in (*CLASSES, None)]
    names = [folder.name for folder in folders]
    assert all(folder.parent == tmp_path / "sorted" for folder in folders)
    assert len({name.casefold() for name in names}) == len(CLASSES) + 1
    assert names[:6] == ["cat", "CAT (2)", "a_b", "__", "unsure", "con_"]
    assert names[8:] == ["new_line", "_git", "end_", "日本", "unsure (2)"]
    assert all(len(os.fsencode(name)) <= 200 for name in names)
    assert sorted(path.name for path in (tmp_path / "sorted").iterdir()) == sorted(names)


def test_photos_of_one_name_get_different_names(tmp_path: Path) -> None:
    sorter = PhotoSorter(tmp_path / "sorted", ("cat",))
    names = ("a/1.jpg", "b/1.jpg", "c/1.JPG", "a/1 (2).jpg", f"a/{'x' * 251}.jpg", f"b/{'x' * 251}.jpg", "a/none")
    paths = [sorter.add(photo(tmp_path / name, name.encode()), "cat") for name in names]
    assert [path.read_bytes().decode() for path in paths] == list(names)
    assert [path.name for path in paths[:4]] == ["1.jpg", "1 (2).jpg", "1 (3).JPG", "1 (2) (2).jpg"]
    assert paths[5].name == f"{'x' * 247} (2).jpg"
    assert sorter.counts == {"cat": 7}


def test_a_copy_keeps_the_time_of_the_photo(tmp_path: Path) -> None:
    source = photo(tmp_path / "1.jpg")
    os.utime(source, (1e9, 1e9))
    assert PhotoSorter(tmp_path / "sorted", ("cat",)).add(source, "cat").stat().st_mtime == 1e9


def test_a_full_disk_leaves_nothing_partial(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(source: object, copy: object) -> None:
        copy.write(b"half")  # type: ignore[attr-defined]
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("shutil.copyfileobj", fail)
    with pytest.raises(ConfigError, match=r"1\.jpg: could not be sorted to .*No space left.*Free some disk space"):
        PhotoSorter(tmp_path / "sorted", ("cat",)).add(photo(tmp_path / "1.jpg"), "cat")
    assert not list((tmp_path / "sorted" / "cat").iterdir())
    assert (tmp_path / "1.jpg").read_bytes() == b"photo"


@pytest.mark.skipif(os.name != "posix", reason="links of POSIX")
def test_a_link_to_another_file_system_says_what_to_do(tmp_path: Path) -> None:
    other = Path("/dev/null")
    if other.lstat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("needs two file systems")
    with pytest.raises(ConfigError, match="copy the photos instead"):
        PhotoSorter(tmp_path / "sorted", ("cat",), link="hard").add(str(other), "cat")
