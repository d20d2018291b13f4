"""Zip files of photos: hostile members, forged sizes, and names of any encoding."""

import random
import struct
import time
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.data.photo_sources import FLAT, refusal, write_zip

from allmlp.data import open_dataset, open_numbered_photos
from allmlp.errors import DataError


@pytest.mark.parametrize(("encoding", "stand_in"), [("utf-8", "H@@te"), ("cp437", "H@te")])
def test_a_zip_without_the_flag_for_utf8_is_read_as_utf8_where_it_is(
    encoding: str, stand_in: str, tmp_path: Path
) -> None:
    """As Info-ZIP writes it on Linux, and as the format has it: the names are put in after zipfile has set no flag."""
    path = write_zip(tmp_path / "photos.zip", {f"{stand_in}/1.jpg": b"1", "Schuhe/2.jpg": b"2"})
    path.write_bytes(path.read_bytes().replace(stand_in.encode(), "Hüte".encode(encoding)))
    dataset = open_dataset(path)
    assert dataset.class_names == ("Hüte", "Schuhe")
    assert dataset.splits["train"].sample_ids == ("Hüte/1.jpg", "Schuhe/2.jpg")


def patch_zip(path: Path, patch: Callable[[bytearray], None]) -> Path:
    content = bytearray(path.read_bytes())
    patch(content)
    path.write_bytes(content)
    return path


def test_an_encrypted_zip_is_refused(tmp_path: Path) -> None:
    def encrypt(content: bytearray) -> None:
        start = content.index(b"PK\x01\x02")
        content[start + 8] |= 1

    message = refusal(patch_zip(write_zip(tmp_path / "x.zip", FLAT), encrypt))
    assert "encrypted members (1): " in message
    assert "password" in message


def test_a_cut_or_foreign_zip_is_refused(tmp_path: Path) -> None:
    whole = write_zip(tmp_path / "x.zip", FLAT).read_bytes()
    for content in (whole[: len(whole) // 2], b"", b"<html>", whole[:-30]):
        (tmp_path / "x.zip").write_bytes(content)
        assert "not a complete zip file" in refusal(tmp_path / "x.zip")


@pytest.mark.parametrize("name", ["../../evil.jpg", "/etc/evil.jpg", "a/../../evil.jpg", "C:/evil.jpg", "..\\evil.jpg"])
def test_zip_members_outside_the_archive_are_refused(name: str, tmp_path: Path) -> None:
    message = refusal(write_zip(tmp_path / "x.zip", {**FLAT, name: b""}))
    assert "members with a path outside of the zip (1): " in message
    assert "evil.jpg" in message


def test_zip_bombs_repeats_and_unknown_packing_are_refused(tmp_path: Path) -> None:
    bomb = write_zip(tmp_path / "bomb.zip", {**FLAT, "hat/bomb.bmp": bytes(4 * 2**20)})
    assert "times their compressed size, as no photo is (1): hat/bomb.bmp; remove" in refusal(bomb)
    lzma = write_zip(tmp_path / "lzma.zip", FLAT, compression=zipfile.ZIP_LZMA)
    assert "compressed by a method other than" in refusal(lzma)
    twice = tmp_path / "twice.zip"
    with zipfile.ZipFile(twice, "w") as archive, pytest.warns(UserWarning, match="Duplicate"):
        for name in ("hat/0.jpg", "hat/0.jpg", "dress/0.jpg"):
            archive.writestr(name, b"")
    assert "duplicate members (1): hat/0.jpg; pack the zip again" in refusal(twice)


@pytest.mark.parametrize("again", ["./hat/0.jpg", "hat//0.jpg", "hat/./0.jpg", "hat\\0.jpg", ".\\hat/0.jpg"])
def test_two_members_for_one_unpacked_file_are_repeats_however_they_are_spelled(again: str, tmp_path: Path) -> None:
    path = write_zip(tmp_path / "x.zip", {"hat/0.jpg": b"1", "dress/0.jpg": b"2", again: b"3"})
    assert "duplicate members (1): hat/0.jpg; pack the zip again" in refusal(path)


def test_folders_listed_twice_are_no_repeats(tmp_path: Path) -> None:
    path = tmp_path / "x.zip"
    with zipfile.ZipFile(path, "w") as archive, pytest.warns(UserWarning, match="Duplicate"):
        for name in ("./", "hat/", "hat/", "./hat/", "hat/0.jpg", "dress/0.jpg"):
            archive.writestr(name, b"")
    assert open_dataset(path).class_names == ("dress", "hat")


def test_a_size_forged_in_the_directory_of_a_zip_is_found_on_reading(tmp_path: Path) -> None:
    def forge(content: bytearray) -> None:
        start = content.index(b"PK\x01\x02")
        content[start + 24 : start + 28] = struct.pack("<I", 3)

    dataset = open_dataset(patch_zip(write_zip(tmp_path / "x.zip", FLAT), forge))
    train = dataset.splits["train"]
    with pytest.raises(DataError, match="it unpacks to more than its 3 bytes"):
        train.read(train.sample_ids.index("hat/0.jpg"))


def forged_zip(path: Path, *, num_packed: int, offset: int) -> Path:
    """Write a zip whose first entry of the directory gives 64-bit numbers of bytes and of its place."""

    def forge(content: bytearray) -> None:
        start, end = content.index(b"PK\x01\x02"), content.index(b"PK\x05\x06")
        content[start + 20 : start + 24] = content[start + 42 : start + 46] = b"\xff" * 4
        extra = struct.pack("<HHQQ", 1, 16, num_packed, offset)
        content[start + 30 : start + 32] = struct.pack("<H", len(extra))
        (directory_size,) = struct.unpack_from("<I", content, end + 12)
        content[end + 12 : end + 16] = struct.pack("<I", directory_size + len(extra))
        place = start + 46 + len("hat/0.jpg")
        content[place:place] = extra

    return patch_zip(write_zip(path, FLAT), forge)


@pytest.mark.parametrize(
    ("num_packed", "offset"), [(2**63, 0), (2**40, 0), (2**64 - 2, 0), (5, 2**63), (5, 2**64 - 2), (5, 10_000)]
)
def test_a_member_that_lies_beyond_the_end_of_a_zip_is_named(num_packed: int, offset: int, tmp_path: Path) -> None:
    message = refusal(forged_zip(tmp_path / "x.zip", num_packed=num_packed, offset=offset))
    assert message == (
        f"{tmp_path / 'x.zip'}: members that the directory puts beyond the end of the file (1): "
        "hat/0.jpg; copy or download it again."
    )


def test_a_member_of_a_huge_zip_that_claims_all_of_it_costs_no_memory(tmp_path: Path) -> None:
    path = forged_zip(tmp_path / "x.zip", num_packed=2**31, offset=0)
    content = bytearray(path.read_bytes())
    start, end = content.index(b"PK\x01\x02"), content.index(b"PK\x05\x06")
    content[end + 16 : end + 20] = struct.pack("<I", 3 * 2**30)
    with path.open("wb") as file:  # a hole before the directory: three gigabytes that take no place on the disk
        file.write(content[:start])
        file.seek(3 * 2**30)
        file.write(content[start:])
    tracemalloc.start()
    try:
        assert "members larger than 200,000,000 bytes (1): hat/0.jpg;" in refusal(path)
        assert tracemalloc.get_traced_memory()[1] < 20e6
    finally:
        tracemalloc.stop()


def test_a_zip_that_shrinks_after_it_was_opened_is_named(tmp_path: Path) -> None:
    dataset = open_dataset(write_zip(tmp_path / "x.zip", {**FLAT, "hat/9.jpg": random.Random(0).randbytes(5_000)}))
    (tmp_path / "x.zip").write_bytes((tmp_path / "x.zip").read_bytes()[:2_000])
    train = dataset.splits["train"]
    with pytest.raises(
        DataError, match=r"x\.zip: hat/9\.jpg: this photo cannot be read from the zip: it is cut short\."
    ):
        train.read(train.sample_ids.index("hat/9.jpg"))


def test_links_in_a_zip_are_skipped(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "x.zip", FLAT)
    with zipfile.ZipFile(path, "a") as archive:
        link = zipfile.ZipInfo("hat/link.jpg")
        link.external_attr = 0o120777 << 16
        archive.writestr(link, "/etc/passwd")
    dataset = open_dataset(path)
    assert dataset.splits["train"].sample_ids == tuple(sorted(FLAT))
    assert dataset.notes == ("1 skipped: hat/link.jpg (a link)",)


def test_the_zip_reader_agrees_with_zipfile(tmp_path: Path) -> None:
    photos = {f"{name}/{i}.jpg": random.Random(i).randbytes(i * 1_000) for name in ("a", "b") for i in range(5)}
    path = write_zip(tmp_path / "x.zip", photos)
    # Bytes in front, as in a self-extracting archive.
    path.write_bytes(b"#!/bin/sh\n" + path.read_bytes())
    train = open_dataset(path).splits["train"]
    assert {sample_id: train.read(i) for i, sample_id in enumerate(train.sample_ids)} == photos


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("train/{}/" + "a/" * 15_000 + "x.jpg", "members with a name longer than 1,024 characters (40): train/"),
        ("{}/" + "a/" * 40 + "x.jpg", "members with a path deeper than 32 folders (40): "),
        ("{}/" + "x" * 60_000 + ".jpg", "members with a name longer than 1,024 characters (40): "),
        ("{}/" + "x" * 300 + ".jpg", "members with a folder or file name longer than 255 characters (40): "),
        ("{}/" + "a\\" * 100 + "x.txt", "members with a path deeper than 32 folders (40): "),
    ],
    ids=lambda value: value[:12],
)
def test_long_and_deep_names_are_refused_at_once(name: str, problem: str, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        for index in range(40):
            archive.writestr(name.format(f"{index % 2}/{index}"), b"x")
    start = time.process_time()
    message = refusal(tmp_path / "x.zip")
    assert problem in message
    assert "pack the zip again with shorter names" in message
    assert len(message) < 2_000
    assert time.process_time() - start < 2.0


def test_members_that_share_their_bytes_or_unpack_to_too_much_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for index in range(70):  # each may have any ratio, but not all together
            archive.writestr(f"{index % 2}/{index}.jpg", bytes(2**20))
    assert "its members unpack to 73,400,320 bytes, more than 200 times its size" in refusal(path)
    write_zip(path, {f"{index}/x.jpg": bytes(1_000) for index in range(3)}, compression=zipfile.ZIP_STORED)

    def overlap(content: bytearray) -> None:
        struct.pack_into("<II", content, content.index(b"PK\x01\x02") + 20, 2_900, 2_900)

    assert "its members overlap, or it is cut short: they need 4,900 bytes" in refusal(patch_zip(path, overlap))


def encrypt(content: bytearray) -> None:
    content[content.index(b"PK\x01\x02") + 8] |= 1


def pack_otherwise(content: bytearray) -> None:
    start = content.index(b"PK\x01\x02")
    content[start + 10 : start + 12] = struct.pack("<H", zipfile.ZIP_LZMA)


def enlarge(content: bytearray) -> None:
    start = content.index(b"PK\x01\x02")
    content[start + 24 : start + 28] = struct.pack("<I", 3 * 10**9)


@pytest.mark.parametrize(
    ("patch", "reason"),
    [
        (encrypt, "encrypted; unpack the zip with its password"),
        (pack_otherwise, "compressed by a method other than store and deflate; pack the zip again"),
        (enlarge, "larger than 200,000,000 bytes"),
    ],
)
def test_for_answers_without_labels_a_member_that_is_not_read_is_one_reason(
    patch: Callable[[bytearray], None], reason: str, tmp_path: Path
) -> None:
    path = patch_zip(write_zip(tmp_path / "x.zip", FLAT), patch)
    opened = open_numbered_photos(path)
    assert opened is not None
    names = [f"{path}: {name}" for name in sorted(FLAT)]
    assert opened.names == names
    first = names.index(f"{path}: {next(iter(FLAT))}")
    for index, name in enumerate(sorted(FLAT)):
        if index == first:
            with pytest.raises(DataError, match=f"x.zip: {name}: this photo cannot be read from the zip: {reason}"):
                opened.reader.read(index)
        else:
            assert opened.reader.read(index) == FLAT[name]
    assert "members" in refusal(path)  # for training, as before


def test_for_answers_without_labels_a_bomb_is_one_reason(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "bomb.zip", {**FLAT, "hat/bomb.bmp": bytes(100 * 2**20)})
    opened = open_numbered_photos(path)
    assert opened is not None
    index = list(opened.names).index(f"{path}: hat/bomb.bmp")
    tracemalloc.start()
    try:
        with pytest.raises(DataError, match="larger than 200 times its compressed size, as no photo is"):
            opened.reader.read(index)
        assert tracemalloc.get_traced_memory()[1] < 1e6
    finally:
        tracemalloc.stop()
    assert opened.reader.read(index - 1) == FLAT[sorted([*FLAT, "hat/bomb.bmp"])[index - 1]]


def test_what_makes_a_whole_zip_untrustworthy_is_refused_without_labels_too(tmp_path: Path) -> None:
    paths = [
        write_zip(tmp_path / "outside.zip", {**FLAT, "../evil.jpg": b""}),
        write_zip(tmp_path / "twice.zip", {**FLAT, "./hat/0.jpg": b""}),
        forged_zip(tmp_path / "beyond.zip", num_packed=5, offset=10_000),
        write_zip(tmp_path / "total.zip", {f"{index}.jpg": bytes(2**20) for index in range(70)}),
    ]
    for path, words in zip(paths, ("outside of the zip", "duplicate", "beyond the end", "unpack to"), strict=True):
        with pytest.raises(DataError, match=words):
            open_numbered_photos(path)
