"""Files are whole or not there, whatever happens while they are written."""

import errno
import json
import os
import stat
import subprocess
import sys
import threading
from pathlib import Path
from typing import IO

import pytest

from allmlp import ConfigError
from allmlp.io.atomic_write import (
    advice_for,
    remedy_for,
    remove,
    remove_leftovers,
    write_bytes,
    write_folder,
    write_json,
    write_text,
    write_together,
)

# Ends the process, as a power cut would, at an event that the interpreter reports before the operating system acts.
CRASH = """
import os, sys
from pathlib import Path
event_of_crash, folder = sys.argv[1], Path(sys.argv[2])
from allmlp.io.atomic_write import write_together

def crash(event, arguments):
    if event == event_of_crash:
        os._exit(9)

sys.addaudithook(crash)
write_together({folder / "a": b"new", folder / "b": b"new"})
"""


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("event", ["os.rename", "os.chmod"])
def test_a_crash_before_the_rename_leaves_the_old_files(tmp_path: Path, event: str) -> None:
    for name in ("a", "b"):
        (tmp_path / name).write_bytes(b"old")
    process = subprocess.run([sys.executable, "-c", CRASH, event, tmp_path], check=False, timeout=60)
    assert process.returncode == 9
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes() == b"old"
    write_together({tmp_path / "a": b"newer"})  # what the crash left behind is in nobody's way
    assert (tmp_path / "a").read_bytes() == b"newer"


def test_an_old_file_is_replaced_and_nothing_else_appears(tmp_path: Path) -> None:
    path = tmp_path / "new" / "folder" / "x.bin"
    assert write_bytes(path, b"one") == path
    assert write_bytes(path, b"two").read_bytes() == b"two"
    assert names(path.parent) == ["x.bin"]


def test_readers_see_a_whole_file_while_it_is_replaced(tmp_path: Path) -> None:
    path = write_bytes(tmp_path / "x", b"0" * 100_000)
    seen = set()
    done = threading.Event()

    def read() -> None:
        while not done.is_set():
            content = path.read_bytes()
            seen.add((len(content), len(set(content))))

    reader = threading.Thread(target=read)
    reader.start()
    for index in range(20):
        write_bytes(path, str(index % 10).encode() * 100_000)
    done.set()
    reader.join()
    assert seen == {(100_000, 1)}


def test_a_function_may_write_the_content(tmp_path: Path) -> None:
    write_together(
        {tmp_path / "a": lambda file: [file.write(b"%d" % number) for number in range(3)], tmp_path / "b": b"b"}
    )
    assert (tmp_path / "a").read_bytes() == b"012"
    assert names(tmp_path) == ["a", "b"]


@pytest.mark.parametrize("error", [ValueError("a bug"), KeyboardInterrupt()])
def test_a_function_that_fails_leaves_nothing_behind(tmp_path: Path, error: BaseException) -> None:
    def fail(file: IO[bytes]) -> None:
        file.write(b"half")
        raise error

    (tmp_path / "a").write_bytes(b"old")
    with pytest.raises(type(error)):
        write_together({tmp_path / "b": b"new", tmp_path / "a": fail})
    assert names(tmp_path) == ["a"]
    assert (tmp_path / "a").read_bytes() == b"old"


def test_an_interrupt_leaves_nothing_behind(tmp_path: Path) -> None:
    class Interrupting(dict[Path, bytes]):
        def items(self):  # type: ignore[no-untyped-def]
            yield tmp_path / "a", b"new"
            raise KeyboardInterrupt

    (tmp_path / "a").write_bytes(b"old")
    with pytest.raises(KeyboardInterrupt):
        write_together(Interrupting())
    assert names(tmp_path) == ["a"]
    assert (tmp_path / "a").read_bytes() == b"old"


def test_files_that_belong_together_change_together_or_not_at_all(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"old")
    (tmp_path / "b").mkdir()
    with pytest.raises(ConfigError, match=r"b: could not be written"):
        write_together({tmp_path / "a": b"new", tmp_path / "b": b"new"})
    assert (tmp_path / "a").read_bytes() == b"old"
    assert names(tmp_path) == ["a", "b"]


def test_a_path_under_a_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"old")
    with pytest.raises(
        ConfigError, match=r"file/x: could not be written \(a file is where its folder should be\)"
    ) as caught:
        write_bytes(tmp_path / "file" / "x", b"new")
    assert caught.value.exit_code == 2
    assert (tmp_path / "file").read_bytes() == b"old"


def test_new_files_have_the_permissions_of_the_umask(tmp_path: Path) -> None:
    previous = os.umask(0o027)
    try:
        path = write_bytes(tmp_path / "x", b"")
    finally:
        os.umask(previous)
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


def test_a_link_is_replaced_and_its_target_left_alone(tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.write_bytes(b"old")
    (tmp_path / "link").symlink_to(target)
    write_bytes(tmp_path / "link", b"new")
    assert target.read_bytes() == b"old"
    assert (tmp_path / "link").read_bytes() == b"new"


def test_text_is_utf_8_and_json_is_readable(tmp_path: Path) -> None:
    assert write_text(tmp_path / "x", "тапки\n").read_bytes() == "тапки\n".encode()
    assert write_json(tmp_path / "y", {"name": "тапки"}).read_text(encoding="utf-8") == '{\n  "name": "тапки"\n}\n'
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "z", float("nan"))
    assert names(tmp_path) == ["x", "y"]


def test_a_path_that_is_not_utf_8_can_be_written_down(tmp_path: Path) -> None:
    path = os.fsdecode(b"caf\xe9/photos")
    assert json.loads(write_json(tmp_path / "x", {path: path}).read_bytes()) == {path: path}
    assert write_text(tmp_path / "y", path).read_bytes() == b"caf\\udce9/photos"


def test_a_folder_is_there_with_all_its_files_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "new" / "folder"
    seen = []
    write_folder(path, {"a": b"1", "b": lambda file: [file.write(b"2"), seen.append(path.exists())]})
    assert (path / "a").read_bytes() + (path / "b").read_bytes() == b"12"
    assert (names(path), names(path.parent), seen) == (["a", "b"], ["folder"], [False])


@pytest.mark.parametrize("error", [ValueError("a bug"), KeyboardInterrupt()])
def test_a_folder_that_could_not_be_filled_leaves_nothing_behind(tmp_path: Path, error: BaseException) -> None:
    def fail(file: IO[bytes]) -> None:
        raise error

    with pytest.raises(type(error)):
        write_folder(tmp_path / "folder", {"a": b"1", "b": fail})
    assert names(tmp_path) == []


def test_a_folder_that_is_there_is_not_replaced(tmp_path: Path) -> None:
    write_folder(tmp_path / "folder", {"a": b"old"})
    with pytest.raises(OSError, match="not empty"):
        write_folder(tmp_path / "folder", {"a": b"new"})
    assert (tmp_path / "folder" / "a").read_bytes() == b"old"
    assert names(tmp_path) == ["folder"]


def test_the_current_folder_and_links_are_not_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A shell would stand in a folder without a name, and a link would lead elsewhere or nowhere."""
    (tmp_path / "here").mkdir()
    (tmp_path / "link").symlink_to("elsewhere")
    (tmp_path / "empty").mkdir()
    (tmp_path / "to_empty").symlink_to("empty")
    monkeypatch.chdir(tmp_path / "here")
    before = names(tmp_path)
    for path in (Path(), Path(".."), tmp_path / "here", Path("..") / "here", Path("/")):
        with pytest.raises(OSError, match="it is the current folder, or one above it"):
            write_folder(path, {"a": b""})
    for path in (tmp_path / "link", tmp_path / "to_empty"):
        with pytest.raises(OSError, match="it is a link"):
            write_folder(path, {"a": b""})
    assert (names(tmp_path), names(tmp_path / "here")) == (before, [])


def test_a_new_folder_has_the_permissions_of_the_umask(tmp_path: Path) -> None:
    previous = os.umask(0o027)
    try:
        write_folder(tmp_path / "folder", {"a": b""})
    finally:
        os.umask(previous)
    assert stat.S_IMODE((tmp_path / "folder").stat().st_mode) == 0o750
    assert stat.S_IMODE((tmp_path / "folder" / "a").stat().st_mode) == 0o640


def test_removing_takes_all_within_and_follows_no_link(tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    write_folder(kept, {"a": b"mine"})
    path = tmp_path / "folder"
    write_folder(path / "within", {"a": b"1"})
    (path / "link").symlink_to(kept)
    remove(path)
    (tmp_path / "link").symlink_to(kept)
    remove(tmp_path / "link")
    assert names(tmp_path) == ["kept"]
    assert (kept / "a").read_bytes() == b"mine"


def test_leftovers_of_some_names_are_removed_and_nothing_else(tmp_path: Path) -> None:
    others = [".step-1.part", ".other-1.0123abcd.part", "step-1.0123abcd.part", ".step-1.0123abcd.part.txt"]
    for name in (".step-1.0123abcd.part", ".step-1.0123abcd.gone", *others):
        write_folder(tmp_path / name, {"a": b""})
    remove_leftovers(tmp_path, prefix="step-")
    assert names(tmp_path) == sorted(others)
    remove_leftovers(tmp_path / "missing", prefix="step-")


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_only_a_full_disk_is_told_to_free_space(number: int) -> None:
    assert "Free some disk space" in advice_for(OSError(number, os.strerror(number)))


@pytest.mark.parametrize(
    "number", [errno.EACCES, errno.EROFS, errno.ENAMETOOLONG, errno.ELOOP, errno.EISDIR, errno.EIO]
)
def test_other_failures_are_not(number: int) -> None:
    assert "space" not in advice_for(OSError(number, os.strerror(number)))


@pytest.mark.parametrize(
    ("number", "remedy"),
    [
        (errno.ENOSPC, "Free some disk space"),
        (errno.EDQUOT, "Free some disk space"),
        (errno.EROFS, "Make the folder writable"),
        (errno.EMFILE, "Raise the limit of open files"),
        (errno.ESTALE, "Check the disk"),
    ],
)
def test_each_failure_of_a_fixed_folder_has_its_own_remedy(number: int, remedy: str) -> None:
    assert remedy_for(OSError(number, os.strerror(number))).startswith(remedy)


@pytest.mark.parametrize("name", ["x" * 300, "folder"])
def test_a_name_that_cannot_be_written_is_not_blamed_on_the_disk(name: str, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(
        ConfigError, match=r"could not be written \(.*\)\. Choose another folder or name\. Existing"
    ) as caught:
        write_bytes(tmp_path / name, b"x")
    assert "space" not in str(caught.value)
