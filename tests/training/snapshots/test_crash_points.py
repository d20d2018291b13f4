"""The oracle of the crash points: it records what the kernel is asked for, and loses what POSIX does not promise."""

import ast
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from tests.reliability.saves_matrix import make_saves
from tests.training.snapshots.crash_points import Disk, Operation

RECORD = """
import sys
from pathlib import Path
from tests.reliability.saves_matrix import make_saves
from tests.training.snapshots.crash_points import recorded

run = Path(sys.argv[1])
with recorded(run) as operations:
    make_saves(run / "resume", 300)
print([(o.name, str(run / o.path), *([str(run / o.new_output_path)] if o.new_output_path else [])) for o in operations])
"""
CALLS = "openat,write,writev,pwrite64,fsync,fdatasync,?mkdir,mkdirat,?rename,renameat,renameat2,?unlink,unlinkat,?rmdir"


def without_repeats(operations: list[tuple[str, ...]]) -> list[tuple[str, ...]]:
    """Pieces of a file may be written as one."""
    return [now for before, now in zip([None, *operations], operations, strict=False) if now != before]


@pytest.mark.skipif(shutil.which("strace") is None, reason="there is no strace")
def test_the_recorder_sees_what_the_kernel_sees(tmp_path: Path) -> None:
    make_saves(tmp_path / "run" / "resume", 100, 200)
    trace = tmp_path / "trace"
    process = subprocess.run(
        ["strace", "-f", "-y", "-e", f"trace={CALLS}", "-o", trace, sys.executable, "-c", RECORD, tmp_path / "run"],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        cwd=Path(__file__).parents[3],
    )
    if "ptrace" in process.stderr:
        pytest.skip("strace is not allowed here")
    assert process.returncode == 0, process.stderr
    recorded = [tuple(operation) for operation in ast.literal_eval(process.stdout)]
    folded = {"sync_file": "fsync", "sync_folder": "fsync"}
    expected = without_repeats([(folded.get(name, name), *paths) for name, *paths in recorded])
    assert without_repeats(traced(trace.read_text(), tmp_path / "run")) == expected
    assert len(expected) > 15


def traced(text: str, run: Path) -> list[tuple[str, ...]]:
    """Return what changes files below `run`, of strace's lines."""
    calls = []
    for line in text.splitlines():
        match = re.match(r"\d+ +(\w+?)(?:at|at2|v|64)?\((.*)", line)
        paths = re.findall(rf'["<]({re.escape(str(run))}[^">]*)[">]', match[2]) if match else []
        if not match or not paths or (match[1] == "open" and "O_CREAT" not in line):
            continue
        name = {"open": "create", "pwrite": "write"}.get(match[1], match[1])
        calls.append((name, *(paths[:2] if name == "rename" else paths[:1])))
    return calls


def op(name: str, path: str, content: bytes = b"", new_output_path: str | None = None) -> Operation:
    return Operation(name, Path(path), content, Path(new_output_path) if new_output_path else None)


def images(*operations: Operation) -> list[object]:
    disk = Disk({"old": b"old"})
    for operation in operations:
        disk.do(operation)
    return list(disk.images())


def test_what_was_not_synced_may_be_there_or_not_or_half() -> None:
    write = [op("create", "new"), op("write", "new", b"12"), op("write", "new", b"34")]
    old = {"old": b"old"}
    partly = [{**old, "new": content} for content in (b"", b"12", b"1234")]
    synced_name = [*write, op("sync_folder", ".")]
    synced_content = [*write, op("sync_file", "new")]
    assert sorted(map(str, images(*write))) == sorted(map(str, [old, *partly]))
    assert sorted(map(str, images(*synced_name))) == sorted(map(str, partly))
    assert sorted(map(str, images(*synced_content))) == sorted(map(str, [old, partly[2]]))
    assert images(*synced_content, op("sync_folder", ".")) == [partly[2]]


def test_a_rename_is_done_or_not_until_the_folder_is_synced() -> None:
    renamed = op("rename", "old", new_output_path="new")
    assert images(renamed) == [{"new": b"old"}, {"old": b"old"}]
    assert images(renamed, op("sync_folder", ".")) == [{"new": b"old"}]
    assert images(op("unlink", "old")) == [{}, {"old": b"old"}]
    assert images(
        op("mkdir", "folder"), op("sync_folder", "."), op("create", "folder/x"), op("sync_file", "folder/x")
    ) == [
        {"old": b"old", "folder": {"x": b""}},
        {"old": b"old", "folder": {}},
    ]
