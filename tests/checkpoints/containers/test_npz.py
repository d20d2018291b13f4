"""NumPy's .npz: right values from every way in which arrays are stored, and one clear error for every hostile archive."""

import io
import itertools
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.builders import GOLDEN
from tests.checkpoints.refusal import MIB, refused

from allmlp import CheckpointError
from allmlp.checkpoints.containers.npz import open_npz
from allmlp.checkpoints.containers.open import open_weights


def npy(header: str | bytes, data: bytes = b"", *, version: int = 1, length: int | None = None) -> bytes:
    """Write a .npy file by hand."""
    header = header.encode("latin-1") if isinstance(header, str) else header
    header = header.ljust(length or 0)
    return b"\x93NUMPY" + bytes([version, 0]) + struct.pack("<H" if version == 1 else "<I", len(header)) + header + data


def described(descr: str = "<f4", shape: str = "(2, 3)", *, fortran: str = "False") -> str:
    return f"{{'descr': '{descr}', 'fortran_order': {fortran}, 'shape': {shape}, }}\n"


def archive(path: Path, members: Iterable[tuple[str, bytes]], *, method: int = zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(path, "w", method) as file:
        for name, content in members:
            file.writestr(name, content)
    return path


def read(path: Path) -> dict[str, torch.Tensor]:
    file = open_weights(path)
    weights = file.read()
    assert {name: tuple(weight.shape) for name, weight in weights.items()} == file.shapes
    return weights


# Right values


@pytest.mark.parametrize("name", ["tiny_linen.npz", "tiny_prelinen.npz"])
def test_the_authors_weights_are_what_numpy_reads(name: str) -> None:
    weights = read(GOLDEN / name)
    with np.load(GOLDEN / name, allow_pickle=False) as expected:
        assert set(weights) == set(expected.files)
        for key, weight in weights.items():
            assert weight.dtype == torch.float32
            np.testing.assert_array_equal(weight.numpy(), expected[key])


# Every width, byte order and number of axes, both orders of memory and both ways to save.
@pytest.mark.parametrize(
    ("shape", "dtype", "order", "save"),
    [
        ((), "<f2", "C", np.savez),
        ((), ">f8", "F", np.savez_compressed),
        ((1,), ">f2", "C", np.savez_compressed),
        ((1,), "<f4", "F", np.savez),
        ((5,), "<f4", "C", np.savez_compressed),
        ((5,), ">f4", "F", np.savez),
        ((3, 4), ">f4", "C", np.savez),
        ((3, 4), "<f2", "F", np.savez_compressed),
        ((3, 4), "<f8", "F", np.savez),
        ((1, 3, 1, 4), "<f8", "C", np.savez_compressed),
        ((1, 3, 1, 4), ">f2", "F", np.savez),
        ((2, 3, 4, 5), ">f8", "C", np.savez),
        ((2, 3, 4, 5), "<f4", "F", np.savez_compressed),
    ],
)
def test_every_order_and_width_is_read_right(
    tmp_path: Path, shape: tuple[int, ...], dtype: str, order: Any, save: Callable[..., None]
) -> None:
    values = np.asarray(np.random.default_rng(0).standard_normal(shape), dtype=dtype, order=order)
    save(tmp_path / "a.npz", **{"head/kernel": values, "zero": values * 0})
    weights = read(tmp_path / "a.npz")
    assert weights["head/kernel"].dtype == {"2": torch.float16, "4": torch.float32, "8": torch.float64}[dtype[-1]]
    np.testing.assert_array_equal(weights["head/kernel"].numpy(), values)
    assert (weights["zero"] == 0).all()


@pytest.mark.parametrize("descr", ["|V2", "<V2", ">V2"])
@pytest.mark.parametrize("fortran", ["False", "True"])
def test_two_bytes_without_a_meaning_are_bfloat16(tmp_path: Path, descr: str, fortran: str) -> None:
    values = torch.randn(2, 3).bfloat16()
    words = (values.T if fortran == "True" else values).contiguous().view(torch.int16).numpy()
    data = words.astype(">i2" if descr[0] == ">" else "<i2").tobytes()
    path = archive(tmp_path / "a.npz", [("w.npy", npy(described(descr, fortran=fortran), data))])
    weight = read(path)["w"]
    assert weight.dtype == torch.bfloat16
    assert torch.equal(weight, values)


@pytest.mark.parametrize("version", [1, 2, 3])
@pytest.mark.parametrize(
    "header",
    [
        described(),
        '{"shape": (2,3), "fortran_order": False, "descr": "<f4"}',
        "{'descr':'<f4','fortran_order':False,'shape':(2L, 3L,)}   \n",
        "{'descr': '=f4', 'fortran_order': False, 'shape': (2, 3)}",
    ],
)
def test_headers_of_other_writers_are_understood(tmp_path: Path, header: str, version: int) -> None:
    values = np.arange(6, dtype="<f4").reshape(2, 3)
    path = archive(tmp_path / "a.npz", [("w.npy", npy(header, values.tobytes(), version=version))])
    np.testing.assert_array_equal(read(path)["w"].numpy(), values)


@pytest.mark.parametrize("shape", [(0,), (0, 3), (3, 0, 2)])
def test_arrays_without_elements_are_read(tmp_path: Path, shape: tuple[int, ...]) -> None:
    np.savez(tmp_path / "a.npz", w=np.zeros(shape, "f4"), b=np.ones(2, "f4"))
    assert tuple(read(tmp_path / "a.npz")["w"].shape) == shape


def test_a_member_that_was_written_as_a_stream_is_read(tmp_path: Path) -> None:
    # Sizes and checksum then follow the data instead of leading it, and the sizes have 64 bits.
    values = np.random.default_rng(0).standard_normal((300, 400)).astype("f4")
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as file, file.open("w.npy", "w", force_zip64=True) as member:
        np.lib.format.write_array(member, values)
    np.testing.assert_array_equal(read(tmp_path / "a.npz")["w"].numpy(), values)


def test_the_weights_may_be_changed_and_outlive_the_file(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", a=np.ones(3, "f4"), b=np.ones(3, "f4"))
    weights = read(tmp_path / "a.npz")
    (tmp_path / "a.npz").unlink()
    weights["a"] += 1
    assert weights["a"].tolist() == [2, 2, 2]
    assert weights["b"].tolist() == [1, 1, 1]


# Hostile and damaged archives

GOOD = npy(described(), np.arange(6, dtype="<f4").tobytes())


def stored(*members: tuple[str, bytes], method: int = zipfile.ZIP_STORED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as file:
        for name, content in members:
            file.writestr(name, content)
    return buffer.getvalue()


def with_directory(content: bytes, **fields: int) -> bytes:
    """Change fields of the first entry of the central directory, and of the local header where it has them."""
    places = {"method": (10, 8, "<H"), "crc": (16, 14, "<I"), "packed": (20, 18, "<I"), "size": (24, 22, "<I")}
    changed, entry = bytearray(content), content.index(b"PK\x01\x02")
    for field, value in fields.items():
        if field == "offset":
            struct.pack_into("<I", changed, entry + 42, value)
        elif field == "comment":
            struct.pack_into("<H", changed, entry + 32, value)
        elif field == "flags":
            struct.pack_into("<H", changed, entry + 8, value)
        else:
            central, local, form = places[field]
            struct.pack_into(form, changed, entry + central, value)
            struct.pack_into(form, changed, local, value)
    return bytes(changed)


def with_many_members(count: int, last: bytes) -> bytes:
    """Write `count` members by hand, for zipfile would take seconds."""
    content, entries = bytearray(), bytearray()
    for index in range(count):
        data, name = last if index == count - 1 else GOOD, b"%05d.npy" % index
        sizes = (zlib.crc32(data), len(data), len(data), len(name))
        entries += (
            struct.pack("<4s6H3I5H2I", b"PK\1\2", 20, 20, 0, 0, 0, 33, *sizes, 0, 0, 0, 0, 0, len(content)) + name
        )
        content += struct.pack("<4s5H3I2H", b"PK\3\4", 20, 0, 0, 0, 33, *sizes, 0) + name + data
    end = struct.pack("<4s4H2IH", b"PK\5\6", 0, 0, count % 65536, count % 65536, len(entries), len(content), 0)
    return bytes(content + entries + end)


def zeros(count: int) -> bytes:
    return npy(described(shape=f"({count},)"), bytes(4 * count))


def one(header: str | bytes, data: bytes = b"", **options: Any) -> bytes:
    return stored(("w.npy", npy(header, data, **options)))


def pickled_array() -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, w=np.array([{"an": "object"}, print], dtype=object))
    return buffer.getvalue()


def saved(array: Any) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, w=array)
    return buffer.getvalue()


def endless(*, size: int) -> bytes:
    """Make a member of 40 GB of zeros in 40 MB, said to have `size` bytes."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    piece = packer.compress(bytes(MIB)) + packer.flush(zlib.Z_FULL_FLUSH)
    # A zip of one stored member, then said to be deflated.
    content = stored(("w.npy", piece * 40_000))
    return with_directory(content, method=8, size=size)


# case -> the file, and words of the message
CASES: dict[str, tuple[Callable[[], bytes], tuple[str, ...]]] = {
    "empty archive": (stored, ("an empty zip archive",)),
    "cut in half": (lambda: (GOLDEN / "tiny_linen.npz").read_bytes()[:20_000], ("damaged or cut short",)),
    "last byte missing": (lambda: (GOLDEN / "tiny_linen.npz").read_bytes()[:-1], ("damaged or cut short",)),
    "only the directory": (lambda: stored(("w.npy", GOOD))[len(GOOD) :], ("damaged",)),
    "data cut": (
        lambda: with_directory(stored(("w.npy", GOOD)), packed=10_000_000, size=10_000_000),
        ("cut short",),
    ),
    "an entry that swallows the next": (
        lambda: with_directory(stored(("w.npy", GOOD), ("v.npy", GOOD)), comment=51),
        ("1 members instead of 2",),
    ),
    "bad CRC": (lambda: stored(("w.npy", GOOD)).replace(GOOD[-4:], b"\0\0\0\0", 1), ("checksum", "w.npy")),
    "bad CRC in a deflated member": (
        lambda: with_directory(stored(("w.npy", GOOD), method=zipfile.ZIP_DEFLATED), crc=1),
        ("checksum", "w.npy"),
    ),
    "deflated data damaged": (
        lambda: with_directory(stored(("w.npy", GOOD)), method=8),
        ("w.npy",),
    ),
    "object array": (pickled_array, ("w.npy", "Python objects", "never unpickled")),
    "object array that fits": (lambda: one(described("|O"), bytes(48)), ("Python objects",)),
    "4e12 elements in 179 B": (
        lambda: one(described(shape="(4000000000000,)"), bytes(16)),
        ("4,000,000,000,000 numbers of 4 bytes", "16 bytes of data"),
    ),
    "5e8 elements in 179 B": (lambda: one(described(shape="(500000000,)")), ("500,000,000", "0 bytes of data")),
    "one element too few": (lambda: one(described(), bytes(20)), ("6 numbers of 4 bytes (2 × 3) in 20 bytes",)),
    "one element too many": (lambda: one(described(), bytes(28)), ("6 numbers of 4 bytes (2 × 3) in 28 bytes",)),
    "a false size": (
        lambda: with_directory(one(described(shape="(500000000,)")), size=2_000_000_000),
        ("stored in", "listed with 2,000,000,000"),
    ),
    "false sizes": (
        lambda: with_directory(one(described(shape="(500000000,)")), size=2_000_000_000, packed=2_000_000_000),
        ("members overlap: they need 2,000,000,000",),
    ),
    "thousandfold": (
        lambda: stored(("w.npy", zeros(5 << 20)), method=zipfile.ZIP_DEFLATED),
        ("would unpack to 20,9", "do not compress like that"),
    ),
    "thousandfold in many members": (
        lambda: stored(*((f"{i}.npy", zeros(1 << 18)) for i in range(20)), method=zipfile.ZIP_DEFLATED),
        ("would unpack to 20,9",),
    ),
    "GB": (lambda: endless(size=(1 << 32) - 2), ("would unpack to 4,294,967,294",)),
    "a false size of GB": (lambda: endless(size=1_000_000), ("w.npy",)),
    "header of 20 kB": (lambda: one(described(), bytes(24), length=20_000), ("header of 20,000 bytes", "10,000")),
    "header of 4 GB": (
        lambda: stored(("w.npy", b"\x93NUMPY\2\0\xff\xff\xff\xff" + described().encode() + bytes(24))),
        ("header of 4,294,967,295 bytes",),
    ),
    "code in the header": (
        lambda: one("{'descr': '<f4', 'fortran_order': False, 'shape': __import__('os').system('touch canary')}"),
        ("does not describe an array",),
    ),
    "arithmetic in the header": (
        lambda: one("{'descr': '<f4', 'fortran_order': False, 'shape': (9**9**9,)}"),
        ("does not describe an array",),
    ),
    "header of brackets": (lambda: one("(" * 9_000), ("does not describe an array",)),
    "header of quotes": (lambda: one("{" + "'descr':'" * 1_000), ("does not describe an array",)),
    "key missing": (lambda: one("{'descr': '<f4', 'shape': (2, 3)}"), ("does not describe an array",)),
    "key twice": (lambda: one(described()[:-3] + "'descr': '<f8'}"), ("does not describe an array",)),
    "unknown key": (lambda: one(described()[:-3] + "'x': '<f8'}"), ("does not describe an array",)),
    "empty header": (lambda: one(""), ("does not describe an array",)),
    "negative shape": (lambda: one(described(shape="(-1, 3)"), bytes(24)), ("an invalid shape", "(-1, 3)")),
    "more elements than there are bytes anywhere": (
        lambda: one(described(shape=f"({'999999999999, ' * 9})"), bytes(16)),
        ("an invalid shape",),
    ),
    "no elements along a huge axis": (
        lambda: one(described(shape="(0, 99999999999999, 9999999999)")),
        ("an invalid shape",),
    ),
    "shape of many digits": (lambda: one(described(shape=f"({'9' * 5000},)")), ("an invalid shape",)),
    "shape of many axes": (lambda: one(described(shape=f"({'1, ' * 40})"), bytes(4)), ("an invalid shape",)),
    "shape of text": (lambda: one(described(shape="'ab'"), bytes(4)), ("an invalid shape",)),
    "member without .npy": (
        lambda: stored(("w.npy", GOOD), ("notes.txt", b"hello")),
        ("1 of its 2 members", "'notes.txt'"),
    ),
    "no arrays at all": (lambda: stored(("word/document.xml", b"<x/>")), ("'word/document.xml'", ".npz")),
    "not an array": (lambda: stored(("w.npy", b"hello, I am text")), ("w.npy", "not an array")),
    "empty member": (lambda: stored(("w.npy", b"")), ("w.npy", "not an array")),
    "version 9": (lambda: one(described(), bytes(24), version=9), ("version 9",)),
    "../ member": (lambda: stored(("../w.npy", GOOD)), ("'../w.npy'",)),
    "../ inside": (lambda: stored(("a/../../w.npy", GOOD)), ("'a/../../w.npy'",)),
    "absolute": (lambda: stored(("/etc/w.npy", GOOD)), ("'/etc/w.npy'",)),
    "backslashes": (lambda: stored(("..\\w.npy", GOOD)), ("w.npy",)),
    "a name that ends twice": (lambda: stored(("w.npyXtxt", GOOD)).replace(b"yXt", b"y\0t"), ("w.npy\\x00txt",)),
    "duplicate member": (
        lambda: stored(("v.npy", GOOD), ("w.npy", GOOD)).replace(b"v.npy", b"w.npy"),
        ("more than once", "w.npy"),
    ),
    "text": (lambda: saved(np.array(["abc"])), ("w.npy", "'<U3'")),
    "complex": (lambda: saved(np.ones(3, "c8")), ("w.npy", "'<c8'")),
    "times": (lambda: saved(np.zeros(3, "M8[s]")), ("w.npy", "'<M8[s]'")),
    "records": (lambda: saved(np.zeros(3, [("a", "f4")])), ("w.npy", "does not describe an array")),
    "integers": (lambda: saved(np.arange(3)), ("w (i8)", "not floating-point")),
    "truth values": (lambda: saved(np.ones(3, bool)), ("w (b1)", "not floating-point")),
    "encrypted member": (lambda: with_directory(stored(("w.npy", GOOD)), flags=1), ("encrypted",)),
    "packed by bzip2": (lambda: stored(("w.npy", GOOD), method=zipfile.ZIP_BZIP2), ("method 12",)),
    "data elsewhere": (lambda: with_directory(stored(("w.npy", GOOD), ("v.npy", GOOD)), offset=50), ("w.npy",)),
    "9,500 members and the last is bad": (
        lambda: with_many_members(9_500, b"no array"),
        ("09499.npy", "not an array"),
    ),
    "10,000 members": (lambda: with_many_members(10_000, GOOD), ("list of members would take 550,000 bytes",)),
}


@pytest.mark.parametrize("case", CASES)
def test_a_hostile_archive_is_refused_by_name(tmp_path: Path, case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    make, words = CASES[case]
    path = tmp_path / "weights.npz"
    path.write_bytes(make())
    monkeypatch.chdir(tmp_path)
    with refused(path, *words):
        open_weights(path).read()
    assert [entry.name for entry in tmp_path.iterdir()] == ["weights.npz"]


def test_every_member_is_checked_before_any_is_read(tmp_path: Path) -> None:
    names = [f"{index}.npy" for index in range(4)]
    for bad in range(4):
        members = [(name, GOOD) for name in names]
        members[bad] = (names[bad], npy(described(shape="(4000000000000,)")))
        with refused(archive(tmp_path / "a.npz", members), names[bad]):
            open_npz(tmp_path / "a.npz")


def test_a_file_that_changes_after_it_was_listed_is_noticed(tmp_path: Path) -> None:
    path = archive(tmp_path / "a.npz", [("w.npy", GOOD)])
    for damage in (b"", GOOD, stored(("v.npy", GOOD)), stored(("w.npy", GOOD[:-1] + b"\1"))):
        path.write_bytes(stored(("w.npy", GOOD)))
        file = open_npz(path)
        path.write_bytes(damage)
        with refused(path):
            file.read()
    path.unlink()
    with refused(path):
        file.read()


def test_every_flipped_bit_of_a_small_archive_is_noticed_or_harmless(tmp_path: Path) -> None:
    # Harmless: dates, versions and attributes of members, which no reader of weights looks at.
    content, path = stored(("w.npy", GOOD), method=zipfile.ZIP_DEFLATED), tmp_path / "a.npz"
    for position, bit in itertools.product(range(len(content)), (0, 7)):
        path.write_bytes(content[:position] + bytes([content[position] ^ 1 << bit]) + content[position + 1 :])
        try:
            weights = open_weights(path).read()
        except CheckpointError as error:
            assert str(path) in str(error)
        else:
            assert [weight.tolist() for weight in weights.values()] == [[[0, 1, 2], [3, 4, 5]]]
