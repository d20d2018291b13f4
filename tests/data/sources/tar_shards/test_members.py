"""One pass over a tar file: what Python's and GNU's tar write is read, and what is damaged or hostile is refused."""

import hashlib
import io
import shutil
import subprocess
import tarfile
from pathlib import Path

import pytest
from tests.data.photo_sources import write_tar

from allmlp.data.sources.tar_shards.members import DamagedTarError, TarMember, TarPass

FILES = [("a/0.jpg", b"first"), ("a/0.cls", b"1"), ("b.jpg", b"x" * 1500), ("empty.jpg", b"")]
LONG = f"{'ü' * 60}/{'x' * 90}.jpg"


def members_of(content: bytes) -> list[TarMember]:
    return list(TarPass(io.BytesIO(content), len(content)).members())


def header(name: str, size: int = 0, kind: bytes = tarfile.REGTYPE) -> bytes:
    info = tarfile.TarInfo(name)
    info.size, info.type = size, kind
    return info.tobuf(tarfile.GNU_FORMAT)


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_members_are_those_of_tarfile(form: int, tmp_path: Path) -> None:
    files = FILES if form == tarfile.USTAR_FORMAT else [*FILES, (LONG, b"long")]
    path = write_tar(tmp_path / "x.tar", files, form=form)
    content = path.read_bytes()
    found = members_of(content)
    with tarfile.open(path) as oracle:
        assert [(m.name, m.offset, m.size, m.problem) for m in found] == [
            (m.name, m.offset_data, m.size, "") for m in oracle
        ]
    assert [content[m.offset : m.offset + m.size] for m in found] == [data for _, data in files]


def test_data_and_the_file_are_hashed_on_the_way(tmp_path: Path) -> None:
    content = write_tar(tmp_path / "x.tar", FILES).read_bytes()
    tar = TarPass(io.BytesIO(content), len(content), with_digest=True)
    digests = {}
    for number, member in enumerate(tar.members()):
        if number % 2:
            assert tar.read_data(member) == FILES[number][1]
        else:
            digests[member.name] = tar.hash_data(member)
    assert digests == {name: hashlib.sha256(data).digest() for name, data in FILES[::2]}
    assert tar.digest() == hashlib.sha256(content).hexdigest()


@pytest.mark.parametrize("form", ["v7", "ustar", "gnu", "pax"])
def test_what_gnu_tar_writes_is_read(form: str, tmp_path: Path) -> None:
    if shutil.which("tar") is None:
        pytest.skip("there is no tar program")
    (tmp_path / "photos" / "sub").mkdir(parents=True)
    (tmp_path / "photos" / "sub" / "0.jpg").write_bytes(b"photo")
    subprocess.run(["tar", f"--format={form}", "-cf", tmp_path / "x.tar", "./sub"], cwd=tmp_path / "photos", check=True)
    (member,) = members_of((tmp_path / "x.tar").read_bytes())
    assert (member.name, member.size, member.problem) == ("sub/0.jpg", 5, "")


def test_every_cut_before_the_end_mark_is_noticed(tmp_path: Path) -> None:
    content = write_tar(tmp_path / "x.tar", FILES).read_bytes()
    end = max(index for index, byte in enumerate(content) if byte) // 512 * 512 + 512
    for length in range(0, end, 13):
        with pytest.raises(DamagedTarError, match=r"cut short|no end mark|not a tar file"):
            members_of(content[:length])
    with pytest.raises(
        DamagedTarError, match=f"it has no end mark: it is cut short after byte {end:,}, or was not closed"
    ):
        members_of(content[:end])
    assert len(members_of(content[: end + 512])) == len(FILES)


def test_a_damaged_header_is_noticed_wherever_it_is(tmp_path: Path) -> None:
    """tarfile itself takes a damaged header for the end."""
    content = write_tar(tmp_path / "x.tar", FILES).read_bytes()
    for member in members_of(content):
        damaged = bytearray(content)
        damaged[member.offset - 512 + 3] ^= 1
        with pytest.raises(DamagedTarError, match=r"is damaged|not a tar file"):
            members_of(bytes(damaged))


def test_data_behind_the_end_mark_is_noticed(tmp_path: Path) -> None:
    content = write_tar(tmp_path / "x.tar", FILES).read_bytes()
    with pytest.raises(DamagedTarError, match="data follows its end mark: several tar files were joined"):
        members_of(content + content)
    assert members_of(bytes(10240)) == []


def _negative_size() -> bytes:
    block = bytearray(header("x.jpg"))
    block[124:136] = b"\xff" * 12  # -1 in base 256
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


@pytest.mark.parametrize(
    ("start", "reason"),
    [
        (_negative_size() + bytes(10240), "damaged"),
        (header("x", 1 << 40, b"x"), "headers of more than 1,048,576 bytes"),
        (header("x", 1 << 40, b"L"), "headers of more than 1,048,576 bytes"),
        ((header("x", 12, b"x") + b"12 a=bcdefg\n".ljust(512, b"\0")) * 3000, "a chain of headers"),
        ((header("x", 600, b"L") + b"a" * 1024) * 3000, "a chain of headers|headers of more than"),
        (header("x.jpg", 1 << 60), "cut short"),
    ],
)
@pytest.mark.parametrize("before", [b"", header("first.jpg", 5) + b"photo".ljust(512, b"\0")])
def test_headers_that_claim_too_much_are_refused_without_memory(start: bytes, reason: str, before: bytes) -> None:
    with pytest.raises(DamagedTarError, match=reason):
        members_of(before + start)


def test_members_that_are_no_files_or_lead_outside_have_a_problem() -> None:
    kinds = {
        tarfile.SYMTYPE: "a link",
        tarfile.LNKTYPE: "a link",
        tarfile.FIFOTYPE: "a device",
        tarfile.CHRTYPE: "a device",
    }
    content = b"".join(header(f"{number}.jpg", 0, kind) for number, kind in enumerate(kinds))
    content += b"".join(header(name) for name in ("/etc/x.jpg", "a/../../x.jpg", "C:/x.jpg", "a" * 300 + ".jpg"))
    content += header("folder", 0, tarfile.DIRTYPE) + header("sparse.jpg", 0, tarfile.GNUTYPE_SPARSE) + bytes(1024)
    found = {member.name: member.problem for member in members_of(content)}
    assert [found[f"{number}.jpg"].startswith(words) for number, words in enumerate(kinds.values())] == [True] * 4
    assert found["/etc/x.jpg"] == found["a/../../x.jpg"] == found["C:/x.jpg"] == "a path outside of the shard"
    assert found["sparse.jpg"] == "sparse data"
    assert "folder" not in found
    assert any("longer than" in problem for problem in found.values())
