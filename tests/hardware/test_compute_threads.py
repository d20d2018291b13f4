"""How torch's threads wait, as libgomp itself reports it."""

import os
import re
import subprocess
import sys

import pytest

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
