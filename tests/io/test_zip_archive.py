"""Zip archives: zipfile, which wrote them, is the oracle."""

import random
import zipfile
from pathlib import Path

import pytest

from allmlp.errors import CheckpointError
from allmlp.io.zip_archive import (
    OUTSIDE,
    list_members,
    name_problem,
    read_directory,
    read_into,
    read_start,
    repeated_names,
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    generator = random.Random(0)
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        for number, method in enumerate((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED) * 2):
            content = generator.randbytes(3_000_000 if number < 2 else number) + bytes(1000)
            archive.writestr(f"{number}.bin", content, method)
    return tmp_path / "x.zip"


def test_members_and_their_bytes_are_those_of_zipfile(path: Path) -> None:
    members = list_members(path)
    assert [member.name for member in members] == [info.filename for info in read_directory(path)]
    with path.open("rb") as file, zipfile.ZipFile(path) as archive:
        for member in members:
            content = bytearray(member.num_bytes)
            read_into(file, member, memoryview(content))
            assert bytes(content) == archive.read(member.name)
            assert read_start(file, member, 7) == content[:7]
            rest = bytearray(member.num_bytes - 5)
            read_into(file, member, memoryview(rest), skip=5)
            assert rest == content[5:]


def test_a_changed_byte_is_found(path: Path) -> None:
    damaged = bytearray(path.read_bytes())
    damaged[1000] ^= 1
    path.write_bytes(damaged)
    member = list_members(path)[0]
    with path.open("rb") as file, pytest.raises(ValueError, match=r"the checksum of '0\.bin' is wrong"):
        read_into(file, member, memoryview(bytearray(member.num_bytes)))


def test_a_cut_archive_is_refused(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(CheckpointError, match="damaged or cut short"):
        list_members(path)


@pytest.mark.parametrize("name", ["/etc/x", "../x", "a/../../x", "..\\x", "\\x", "C:\\x", "c:x"])
def test_names_outside_of_the_archive_are_seen(name: str) -> None:
    assert name_problem(name) == OUTSIDE


@pytest.mark.parametrize("name", ["x", "a/b..c", "...", "a/x:y"])
def test_other_names_are_not(name: str) -> None:
    assert not name_problem(name)


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("a/" * 33 + "x", "a path deeper than 32 folders"),
        ("a\\" * 33 + "x", "a path deeper than 32 folders"),
        ("/".join(["a" * 100] * 11), "a name longer than 1,024 characters"),
        ("a/" * 20_000, "a name longer than 1,024 characters"),
        ("x" * 256, "a folder or file name longer than 255 characters"),
        ("x" * 256 + "/y", "a folder or file name longer than 255 characters"),
        ("a/" * 32 + "x", ""),
        ("x" * 255 + "/" + "y" * 255, ""),
    ],
    ids=lambda value: value[:12],
)
def test_the_length_and_the_depth_of_names_are_bounded(name: str, problem: str, tmp_path: Path) -> None:
    assert name_problem(name) == problem
    if problem:
        with zipfile.ZipFile(tmp_path / "x.npz", "w") as archive:
            archive.writestr(name, b"")
        with pytest.raises(CheckpointError, match="is invalid; expected a relative path") as caught:
            list_members(tmp_path / "x.npz")
        assert len(str(caught.value)) < 500


def test_repeated_names_are_sorted() -> None:
    assert repeated_names(["b", "a", "b", "c", "a"]) == ["a", "b"]
