"""How torch's threads wait, as libgomp itself reports it, and how many a quota of CPU time leaves."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from allmlp.hardware.num_decoding_threads import usable_cores

PROGRAM = """
import sys
from allmlp.cli.main import main
assert "torch" not in sys.modules
try:
    main(["--version"])
finally:
    import torch
"""


@pytest.mark.parametrize(
    ("variables", "expected"),
    [({}, "20000"), ({"GOMP_SPINCOUNT": "7"}, "7"), ({"OMP_WAIT_POLICY": "active"}, None)],
)
def test_waiting_threads_of_the_commands_soon_sleep(variables, expected):
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("OMP_WAIT", "GOMP_"))}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env=environment | {"OMP_DISPLAY_ENV": "verbose"} | variables,
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    reported = re.search(r"GOMP_SPINCOUNT = '(\w+)'", done.stderr)
    if reported is None:
        pytest.skip("torch's OpenMP library is not libgomp")
    if expected is None:
        assert reported[1] != "20000"  # the user's policy decides
    else:
        assert reported[1] == expected


QUOTA_PROGRAM = """
import sys
from pathlib import Path
from allmlp.hardware.compute_threads import limit_spinning
limit_spinning(Path(sys.argv[1]))
assert "torch" not in sys.modules
import torch
from allmlp.hardware.num_compute_threads import num_compute_threads
print(torch.get_num_threads(), num_compute_threads(Path(sys.argv[1])))
"""


@pytest.mark.skipif(usable_cores(physical=True) < 2, reason="a quota cannot be seen on a single core")
@pytest.mark.parametrize(
    ("quota", "variables", "expected"),
    [
        ("100000 100000", {}, 1),
        ("100000 100000", {"OMP_NUM_THREADS": "2"}, 2),  # the user's
        ("max 100000", {}, None),
    ],
)
def test_torch_obeys_the_quota_of_a_container(
    quota: str, variables: dict[str, str], expected: int | None, tmp_path: Path
) -> None:
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/self/cgroup").write_text("0::/\n")
    (tmp_path / "sys/fs/cgroup").mkdir(parents=True)
    (tmp_path / "sys/fs/cgroup/cpu.max").write_text(f"{quota}\n")
    environment = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}
    done = subprocess.run(
        [sys.executable, "-c", QUOTA_PROGRAM, str(tmp_path)],
        env=environment | variables,
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    of_torch, of_engines = map(int, done.stdout.split())
    assert of_torch == of_engines
    assert of_torch == expected if expected else of_torch > 1
