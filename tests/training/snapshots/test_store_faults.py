"""Saving that fails or takes long: training continues, reports it, and keeps the previous snapshot."""

import sys
import threading
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

import pytest
import torch
from tests.forks import run_python
from tests.reference.peak_memory import PEAK_MEMORY
from tests.reliability.saves_matrix import facts_of, latest, make_saves, names, tensors_of

from allmlp.errors import ConfigError
from allmlp.io import atomic_write as files
from allmlp.training.snapshots.store import SnapshotStore


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "run" / "resume"


def write(saves: SnapshotStore, step: int) -> None:
    saves.write(step, tensors_of(step), facts_of(step))


class Gate:
    """Holds every sync of a file until it is opened; `reached` tells that one is held."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.reached, self.opened = threading.Event(), threading.Event()
        original = files._sync_file

        def held(file: IO[bytes]) -> None:
            self.reached.set()
            assert self.opened.wait(60)
            original(file)

        monkeypatch.setattr(files, "_sync_file", held)


def open_when_joined(gate: Gate, name: str) -> None:
    """Let the gate be opened by whoever waits for the thread of this name."""
    (thread,) = (thread for thread in threading.enumerate() if thread.name == name)
    original = thread.join

    def join() -> None:
        gate.opened.set()
        original()

    thread.join = join  # type: ignore[method-assign]  # of this one thread, to see who waits for it


def failing(monkeypatch: pytest.MonkeyPatch, operation: str, error: BaseException) -> None:
    """Let an operation of the disk fail from now on."""

    def fail(*arguments: Any) -> None:
        raise error

    monkeypatch.setattr(files, operation, fail)


# Beside training


def test_write_returns_before_anything_is_safe_and_the_next_one_waits(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = Gate(monkeypatch)
    saves = SnapshotStore(directory, keep_every=None, warn=pytest.fail)
    write(saves, 1)  # returns, although no sync can end
    assert gate.reached.wait(60)
    assert latest(directory) == (None, [])

    open_when_joined(gate, "write step-000000001")
    write(saves, 2)
    assert gate.opened.is_set()  # it waited: nothing else opens the gate
    saves.wait()
    assert names(directory) == ["step-000000001", "step-000000002"]


@pytest.mark.parametrize("call", [SnapshotStore.wait, SnapshotStore.latest])
def test_latest_and_wait_wait_for_the_save_under_way(
    directory: Path, monkeypatch: pytest.MonkeyPatch, call: Callable[[SnapshotStore], object]
) -> None:
    gate = Gate(monkeypatch)
    saves = SnapshotStore(directory, keep_every=None, warn=pytest.fail)
    write(saves, 1)
    open_when_joined(gate, "write step-000000001")
    call(saves)
    assert gate.opened.is_set()
    assert latest(directory) == (1, [])


EXIT = """
import sys, threading
from pathlib import Path
import torch
from allmlp.io import atomic_write as files
from allmlp.training.snapshots.store import SnapshotStore

original = files._sync_file

def after_the_main_thread(file):
    threading.main_thread().join()
    original(file)

files._sync_file = after_the_main_thread
SnapshotStore(Path(sys.argv[1]), keep_every=None, warn=print).write(1, {"x": torch.arange(5.0)}, {"fact": 1})
print("main ends")
sys.exit(143)
"""


def test_an_interpreter_that_exits_finishes_the_save_first(directory: Path) -> None:
    process = run_python(EXIT, directory)
    assert (process.returncode, process.stdout, process.stderr) == (143, "main ends\n", "")
    state = SnapshotStore(directory, keep_every=None, warn=pytest.fail).latest()
    assert state is not None
    assert (state.tensors["x"].tolist(), state.metadata) == ([0, 1, 2, 3, 4], {"fact": 1})


MEMORY = f"""
{PEAK_MEMORY}
import sys
from pathlib import Path
import torch
from allmlp.training.snapshots.store import SnapshotStore

saves = SnapshotStore(Path(sys.argv[1]), keep_every=None, warn=print)
saves.write(0, {{"warm": torch.ones(1)}}, {{}})
saves.wait()
tensors = {{str(number): torch.ones(25 << 18) for number in range(8)}}
before = peak_memory()
saves.write(1, tensors, {{}})
saves.wait()
print(peak_memory() - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="asks Linux for the peak")
def test_saving_200_mib_takes_less_than_40_mib_more(directory: Path) -> None:
    process = run_python(MEMORY, directory)
    assert int(process.stdout) < 40 << 20, process.stderr
    assert (directory / "step-000000001" / "state.safetensors").stat().st_size > 200 << 20


# Failures


FULL_DISK = """
import resource, sys
from pathlib import Path
import torch
from allmlp.training.snapshots.store import SnapshotStore

lines = []
saves = SnapshotStore(Path(sys.argv[1]), keep_every=None, warn=lines.append)
hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
for step, limit in enumerate([-1, int(sys.argv[2]), int(sys.argv[2]), -1], start=1):
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
    saves.write(step, {"x": torch.full((1000,), float(step))}, {"long": "fact" * 2000})
    saves.wait()
    print("trained on to", step, [path.name for path in sorted(Path(sys.argv[1]).iterdir())])
print(*lines, sep="\\n")
"""


@pytest.mark.parametrize("limit", [0, 100, 3000, 5000])  # at once, in the header, in the tensors, in the facts
def test_training_outlives_a_full_disk(directory: Path, limit: int) -> None:
    process = run_python(FULL_DISK, directory, limit)
    lines = process.stdout.splitlines()
    assert process.stderr == ""
    assert lines[:4] == [
        "trained on to 1 ['step-000000001']",
        "trained on to 2 ['step-000000001']",
        "trained on to 3 ['step-000000001']",
        "trained on to 4 ['step-000000001', 'step-000000004']",
    ]
    assert lines[4:] == [
        f"{directory / f'step-00000000{step}'}: step {step} could not be saved (File too large). Training continues; "
        "the snapshot of step 1 is still valid. Raise the limit of the size of a file (ulimit -f)."
        for step in (2, 3)
    ]
    state = SnapshotStore(directory, keep_every=None, warn=pytest.fail).latest()
    assert state is not None
    assert state.step == 4


def test_a_file_in_place_of_the_folder_is_named(directory: Path) -> None:
    directory.parent.mkdir()
    directory.write_bytes(b"mine")
    lines: list[str] = []
    saves = SnapshotStore(directory, keep_every=None, warn=lines.append)
    write(saves, 1)
    saves.wait()
    (line,) = lines
    assert line.startswith(f"{directory / 'step-000000001'}: step 1 could not be saved (a file is where its folder")
    assert "there is no valid snapshot yet" in line
    assert directory.read_bytes() == b"mine"


READ_ONLY = """
import os, sys
from pathlib import Path
import torch
from allmlp.training.snapshots.store import SnapshotStore

os.chdir(sys.argv[1])
saves = SnapshotStore(Path("resume"), keep_every=None, warn=print)
saves.write(1, {"x": torch.ones(3)}, {})
saves.wait()
Path("resume").chmod(0o555)
if os.geteuid() == 0:  # whom no mode binds
    Path().chmod(0o755)
    os.seteuid(65534)
saves.write(2, {"x": torch.ones(3)}, {})
saves.wait()
"""


def test_training_outlives_a_read_only_folder(directory: Path) -> None:
    directory.parent.mkdir()
    process = run_python(READ_ONLY, directory.parent)
    directory.chmod(0o755)
    assert (process.stdout, process.stderr) == (
        "resume/step-000000002: step 2 could not be saved (Permission denied). Training continues; the snapshot of "
        "step 1 is still valid. Make the folder writable.\n",
        "",
    )
    assert names(directory) == ["step-000000001"]


@pytest.mark.parametrize("operation", ["_mkdir", "_create", "_sync_file", "_rename"])
@pytest.mark.parametrize("error", [OSError(5, "Input/output error"), MemoryError()])
def test_whatever_fails_is_told_and_nothing_is_left_of_it(
    directory: Path, monkeypatch: pytest.MonkeyPatch, operation: str, error: Exception
) -> None:
    make_saves(directory, 1)
    lines: list[str] = []
    saves = SnapshotStore(directory, keep_every=None, warn=lines.append)
    with monkeypatch.context() as patch:
        failing(patch, operation, error)
        write(saves, 2)
        saves.wait()
    reason, advice = (
        ("Input/output error", " Check the disk, or the connection to it.")
        if isinstance(error, OSError)
        else ("out of memory", "")
    )
    (line,) = lines
    assert line.endswith(
        f"could not be saved ({reason}). Training continues; the snapshot of step 1 is still valid.{advice}"
    )
    assert names(directory) == ["step-000000001"]
    write(saves, 3)
    saves.wait()
    assert names(directory) == ["step-000000001", "step-000000003"]


def test_the_save_that_stays_valid_is_one_that_was_looked_at(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_saves(directory, 1, 2)
    (directory / "step-000000002" / "state.json").write_bytes(b"")
    lines: list[str] = []
    saves = SnapshotStore(directory, keep_every=None, warn=lines.append)
    failing(monkeypatch, "_create", OSError(28, "No space left on device"))
    write(saves, 3)
    saves.wait()
    damaged, failed = lines
    assert "step-000000002: damaged" in damaged
    assert "No space left on device" in failed
    assert "the snapshot of step 1 is still valid" in failed


def test_old_saves_that_cannot_be_deleted_are_told_of(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_saves(directory, 1, 2)
    lines: list[str] = []
    saves = SnapshotStore(directory, keep_every=None, warn=lines.append)
    with monkeypatch.context() as patch:
        failing(patch, "_unlink", OSError(1, "Operation not permitted"))
        write(saves, 3)
        saves.wait()
    (line,) = lines
    assert "old snapshots could not be deleted (Operation not permitted). Training continues" in line
    assert latest(directory) == (3, [])
    write(saves, 4)
    saves.wait()
    assert names(directory) == ["step-000000003", "step-000000004"]


def test_a_damaged_save_that_cannot_be_set_aside_is_passed_over(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_saves(directory, 1, 2)
    (directory / "step-000000002" / "state.json").write_bytes(b"")
    failing(monkeypatch, "_rename", OSError(30, "Read-only file system"))
    step, (line,) = latest(directory)
    assert step == 1
    assert "could not be renamed to damaged-step-000000002 (Read-only file system)" in line


@pytest.mark.parametrize("next_call", [SnapshotStore.wait, SnapshotStore.latest, lambda saves: write(saves, 2)])
def test_a_bug_while_saving_is_told_at_once_and_raised_at_the_next_call(
    directory: Path, monkeypatch: pytest.MonkeyPatch, next_call: Callable[[SnapshotStore], object]
) -> None:
    told = threading.Event()
    lines: list[str] = []

    def warn(line: str) -> None:
        lines.append(line)
        told.set()

    saves = SnapshotStore(directory, keep_every=None, warn=warn)
    with monkeypatch.context() as patch:
        failing(patch, "_create", RuntimeError("a bug"))
        write(saves, 1)
        assert told.wait(60)
    with pytest.raises(RuntimeError, match="a bug"):
        next_call(saves)
    (line,) = lines
    assert "step-000000001: saving failed because of a bug: RuntimeError('a bug')" in line
    write(saves, 3)  # raised once
    saves.wait()
    assert latest(directory) == (3, [])


@pytest.mark.parametrize(
    "error", [ConfigError("log.txt: could not be written"), OSError(28, "No space left on device")]
)
def test_what_cannot_be_logged_goes_to_standard_error(
    directory: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], error: Exception
) -> None:
    def warn(line: str) -> None:
        raise error

    failing(monkeypatch, "_create", OSError(28, "No space left on device"))
    saves = SnapshotStore(directory, keep_every=None, warn=warn)
    write(saves, 1)
    saves.wait()
    assert "step 1 could not be saved (No space left on device)" in capsys.readouterr().err


def test_keep_every_zeroth_is_a_bug(directory: Path) -> None:
    with pytest.raises(ValueError, match="keep_every is 0"):
        SnapshotStore(directory, keep_every=0, warn=pytest.fail)


def test_tensors_are_let_go_once_they_are_written(directory: Path) -> None:
    saves = SnapshotStore(directory, keep_every=None, warn=pytest.fail)
    tensor = torch.zeros(3)
    watched = weakref.ref(tensor)
    saves.write(1, {"x": tensor}, {})
    del tensor
    saves.wait()
    assert watched() is None
