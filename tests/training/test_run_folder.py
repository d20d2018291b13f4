"""What a run writes into its folder."""

from pathlib import Path

import pytest
from tests.forks import run_python

from allmlp.training.run_folder import RunDirectory, lock_run


def texts(path: Path) -> list[str]:
    """Return the lines of a log without their times."""
    return [line.split("Z ", 1)[-1] for line in (path / "log.txt").read_text().splitlines()]


def test_a_resumed_run_appends_to_the_log(tmp_path: Path) -> None:
    for is_new, line in ((True, "begun"), (False, "resumed: тапки \udce9")):
        with lock_run(tmp_path / "run", is_new=is_new):
            RunDirectory(tmp_path / "run").log(line)
    assert texts(tmp_path / "run") == ["begun", "resumed: тапки \\udce9"]


@pytest.mark.parametrize("torn", [b"2026-11-28 1", b"2026-11-28 10:00:00Z photos  \xd1"])  # the latter in a character
def test_a_line_torn_by_a_kill_stays_alone(torn: bytes, tmp_path: Path) -> None:
    run = RunDirectory(tmp_path)
    run.log("begun")
    whole = run.layout.log.read_bytes()
    run.layout.log.write_bytes(whole + torn)
    run.log("resumed")
    content = run.layout.log.read_bytes()
    assert content.startswith(whole + torn + b"\n")
    assert content.endswith(b"Z resumed\n")


FULL_DISK = """
import resource, sys
from pathlib import Path
from allmlp.training.run_folder import RunDirectory

run = RunDirectory(Path(sys.argv[1]))
run.log("begun")
hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
resource.setrlimit(resource.RLIMIT_FSIZE, (40, hard))
for line in ("torn", "lost"):
    try:
        run.log(line)
    except OSError as error:
        print(error.strerror)
resource.setrlimit(resource.RLIMIT_FSIZE, (-1, hard))
run.log("goes on")
"""


def test_a_full_disk_costs_lines_and_no_more(tmp_path: Path) -> None:
    done = run_python(FULL_DISK, tmp_path)
    assert done.stdout.splitlines()[-1] == "File too large"
    lines = texts(tmp_path)
    assert (lines[0], lines[-1]) == ("begun", "goes on")
    assert len(lines) == 3


def test_every_line_reaches_the_kernel_at_once(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path)
    run.log("begun")
    assert texts(tmp_path) == ["begun"]  # although nothing was closed
