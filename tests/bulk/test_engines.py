"""Kills at random moments, several processes on one folder, torchrun and Ray: the bytes are those of one quiet process."""

import contextlib
import errno
import importlib.util
import os
import random
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from tests.bulk.conftest import png
from tests.forks import run_allmlp, run_arguments, run_torchrun, start

from allmlp.bulk.engines import _threads_of_children
from allmlp.hardware.num_compute_threads import THREADS_OF_QUOTA

PART_SIZE = "8"
NUM_PHOTOS = 400


@pytest.fixture(scope="module")
def many(tmp_path_factory) -> Path:
    """A folder with 400 photos, of which some are bad."""
    folder = tmp_path_factory.mktemp("many")
    (folder / "photos").mkdir()
    contents = [png(seed) for seed in range(10)]
    for number in range(NUM_PHOTOS):
        content = b"bad" if number % 50 == 7 else contents[number % 10] + bytes(number % 3)
        (folder / "photos" / f"{number:03d}.png").write_bytes(content)
    return folder


def arguments(checkpoint, out, *more) -> list[str]:
    words = ["predict", checkpoint, "photos", "--out", f"{out}/", "--device", "cpu", "--part-size", PART_SIZE, *more]
    return [str(word) for word in words]


def bytes_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir()) if path.name != "_claims"}


@pytest.fixture(scope="module")
def clean(many, checkpoint) -> dict[str, bytes]:
    """The bytes of a run that nothing disturbed."""
    done = run_allmlp(*arguments(checkpoint, "clean"), cwd=many)
    assert done.returncode == 3, done.stderr
    found = bytes_of(many / "clean")
    assert len(found) == NUM_PHOTOS // 8 + 2
    return found


def begin(many, *words):
    """Start `allmlp` in a process of its own."""
    log = many / "log"
    return start(run_arguments, ["-m", "allmlp", *words], {**os.environ, "OMP_NUM_THREADS": "1"}, log, log, many)


def found_while_it_runs(process, look):
    """Return what `look` finds; it looks again and again while a process runs."""
    while not (found := look()):
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(0.02)
            raise AssertionError("the process ended too early")
    return found


def child_with(parent: int, word: str) -> int:
    """Return a process below another one that has a word in its command line; 0 if there is none."""
    for child in psutil.Process(parent).children(recursive=True):
        with contextlib.suppress(psutil.Error):
            if word in " ".join(child.cmdline()):
                return child.pid
    return 0


def kill(process) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(process.pid, signal.SIGKILL)
    process.wait()


def kills(number: int, many: Path, checkpoint: Path, clean: dict[str, bytes], out: Path) -> int:
    """Kill processes at random moments, and check the folder after each; return how many were at work."""
    generator = random.Random(number)
    num_hits = 0
    longest = 1.0
    while num_hits < number:
        process = begin(many, *arguments(checkpoint, out))
        began = time.monotonic()
        try:
            process.wait(generator.uniform(0, longest))
        except subprocess.TimeoutExpired:
            kill(process)
            num_hits += 1
        else:
            assert process.poll() == 3, (many / "log").read_text()
            longest = time.monotonic() - began
        found = bytes_of(out) if out.exists() else {}
        assert {name: content for name, content in found.items() if not name.startswith(".")}.items() <= clean.items()
        if len(found) == len(clean):  # complete: begin again, so that later kills hit something
            for path in [*out.iterdir()]:
                path.unlink()
    done = run_allmlp(*arguments(checkpoint, out), cwd=many)
    assert done.returncode == 3, done.stderr
    assert bytes_of(out) == clean
    return num_hits


def test_8_kills_give_the_bytes_of_a_run_without_kills(many, checkpoint, clean, tmp_path):
    assert kills(8, many, checkpoint, clean, tmp_path / "out") == 8


@pytest.mark.slow
def test_50_kills_give_the_bytes_of_a_run_without_kills(many, checkpoint, clean, tmp_path):
    assert kills(50, many, checkpoint, clean, tmp_path / "out") == 50


def test_two_commands_on_one_folder_share_the_work(many, checkpoint, clean, tmp_path):
    processes = [begin(many, *arguments(checkpoint, tmp_path / "out")) for _ in range(3)]
    kill(processes.pop())
    assert [process.wait(60) for process in processes] == [3, 3], (many / "log").read_text()
    assert bytes_of(tmp_path / "out") == clean


def test_torchrun_shares_the_work_and_reports_once(many, checkpoint, clean, tmp_path):
    done = run_torchrun(2, "-m", "allmlp", *arguments(checkpoint, tmp_path / "out"), cwd=many)
    assert bytes_of(tmp_path / "out") == clean
    assert done.stdout.count("Wrote") == 1
    assert "Traceback" not in done.stdout


def test_processes_of_this_machine_and_a_killed_one(many, checkpoint, clean, tmp_path):
    """Really spawned, as users' are; the one that is left takes over."""
    command = [sys.executable, "-m", "allmlp", *arguments(checkpoint, tmp_path / "out", "--processes", "2")]
    process = subprocess.Popen(command, cwd=many, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    worker = found_while_it_runs(process, lambda: child_with(process.pid, "spawn_main"))
    os.kill(worker, signal.SIGKILL)
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 3, output
    assert bytes_of(tmp_path / "out") == clean


def test_ctrl_c_says_how_to_go_on(many, checkpoint, clean, tmp_path):
    log = tmp_path / "log"
    words = ["-m", "allmlp", *arguments(checkpoint, tmp_path / "out")]
    process = start(run_arguments, words, {**os.environ, "OMP_NUM_THREADS": "1"}, log, log, many)
    found_while_it_runs(process, (tmp_path / "out" / "part-00000.parquet").exists)
    os.kill(process.pid, signal.SIGINT)
    assert process.wait(60) == 130, log.read_text()
    assert "of 50 parts are done. To go on, run the same command again." in log.read_text()
    assert "Traceback" not in log.read_text()
    run_allmlp(*arguments(checkpoint, tmp_path / "out"), cwd=many)
    assert bytes_of(tmp_path / "out") == clean


def test_a_full_disk_is_said_and_leaves_no_partial_file(many, checkpoint, clean, tmp_path):
    program = "import resource, runpy, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (1500, 1500)); "
    program += "sys.argv[0] = 'allmlp'; runpy.run_module('allmlp', run_name='__main__')"
    run_allmlp(*arguments(checkpoint, tmp_path / "out"), cwd=many)
    for path in (tmp_path / "out").glob("part-*"):
        path.unlink()
    process = start(
        run_arguments,
        ["-c", program, *arguments(checkpoint, tmp_path / "out")],
        dict(os.environ),
        tmp_path / "a",
        tmp_path / "b",
        many,
    )
    assert process.wait(60) == 2
    errors = (tmp_path / "b").read_text()
    assert os.strerror(errno.EFBIG) in errors or "part-00000.parquet: could not be written" in errors
    assert not [path for path in (tmp_path / "out").iterdir() if path.name.startswith((".", "part-"))]
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] != 1500
    run_allmlp(*arguments(checkpoint, tmp_path / "out"), cwd=many)
    assert bytes_of(tmp_path / "out") == clean


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="ray is not installed")
def test_ray_with_a_killed_worker_gives_the_same_rows(many, checkpoint, clean, tmp_path):
    command = [sys.executable, "-m", "allmlp", *arguments(checkpoint, tmp_path / "out", "--engine", "ray")]
    process = subprocess.Popen(command, cwd=many, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    found_while_it_runs(process, lambda: any((tmp_path / "out").glob("part-*")))
    worker = found_while_it_runs(process, lambda: child_with(process.pid, "_compute_in_ray"))
    os.kill(worker, signal.SIGKILL)
    output, _ = process.communicate(timeout=240)
    assert process.returncode == 3, output
    assert bytes_of(tmp_path / "out") == clean


@pytest.mark.parametrize(
    ("before", "is_users", "count", "expected"),
    [
        (None, False, 3, "3"),
        (None, False, None, None),
        ("2", False, 1, "1"),
        ("2", False, None, None),
        ("2", True, 1, "2"),
    ],
)
def test_processes_get_their_share_of_the_threads_unless_the_user_set_a_number(
    before, is_users, count, expected, monkeypatch
):
    """The command sets the variable, too, where a quota allows fewer cores: each process would take all of these."""
    for name, value in (("OMP_NUM_THREADS", before), (THREADS_OF_QUOTA, None if is_users else before)):
        if value is None:
            monkeypatch.delenv(name, raising=False)
        else:
            monkeypatch.setenv(name, value)
    with _threads_of_children(count):
        assert os.environ.get("OMP_NUM_THREADS") == expected
    assert os.environ.get("OMP_NUM_THREADS") == before


def test_without_ray_its_installation_is_named(many, checkpoint, tmp_path):
    program = "import sys; sys.modules['ray'] = None; import runpy; runpy.run_module('allmlp', run_name='__main__')"
    process = start(
        run_arguments,
        ["-c", program, *arguments(checkpoint, tmp_path / "out", "--engine", "ray")],
        dict(os.environ),
        tmp_path / "a",
        tmp_path / "b",
        many,
    )
    assert process.wait(60) == 5
    assert "--engine ray needs ray: pip install 'allmlp[ray]'" in (tmp_path / "b").read_text()
