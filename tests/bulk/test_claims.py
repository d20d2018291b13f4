"""Claims of other processes, which end with them."""

import errno
import os
import signal
from pathlib import Path

import pytest
from tests.forks import run_arguments, start

from allmlp.bulk.claims import Claims
from allmlp.errors import ConfigError

HOLDER = """
import signal, sys
from pathlib import Path
from allmlp.bulk.claims import Claims
with Claims(Path(sys.argv[1])).part(3):
    print("held", flush=True)
    signal.pause()
"""


@pytest.fixture
def holder(tmp_path):
    """A process that holds the claim on part 3."""
    read, write = os.pipe()
    process = start(
        run_arguments,
        ["-c", HOLDER, str(tmp_path)],
        dict(os.environ),
        Path(f"/proc/{os.getpid()}/fd/{write}"),
        tmp_path / "errors",
        tmp_path,
    )
    assert os.read(read, 10) == b"held\n"
    yield process
    if process.poll() is None:
        os.kill(process.pid, signal.SIGKILL)
    process.wait()
    os.close(read)
    os.close(write)


def test_a_claim_is_held_until_its_process_is_killed(holder, tmp_path):
    claims = Claims(tmp_path)
    with claims.part(3) as mine:
        assert not mine
    with claims.part(4) as mine, claims.plan():
        assert mine
    os.kill(holder.pid, signal.SIGKILL)
    with claims.part(3, wait=True) as mine:
        assert mine
    claims.close()


def test_without_locks_every_part_is_ours(holder, tmp_path, monkeypatch):
    import fcntl

    def refuse(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "lockf", refuse)
    claims = Claims(tmp_path)
    with claims.part(3) as mine:
        assert mine
    assert not claims.works


def test_a_folder_that_cannot_be_written_to(tmp_path):
    with pytest.raises(ConfigError, match=r"gone/_claims: could not be written"):
        Claims(tmp_path / "gone")
