"""Start-up and peak memory, each measured in a fresh process: from its start to the first answer for one batch."""

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

__all__ = ["start_up"]

_PROGRAM = """
import json, sys
import numpy as np
from allmlp import open_model
source, backend, precision, batch_size = sys.argv[1:]
model = open_model(source, backend=backend, device="cpu", precision=precision)
shape = (int(batch_size), 3, *model.description.config.image_size)
model.forward(np.zeros(shape, np.float32))
try:
    lines = open("/proc/self/status").read().splitlines()
    peak = int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) / 1024
except (OSError, StopIteration):
    peak = None
print(json.dumps(peak))
"""


def start_up(
    source: str | Path, backend: str, precision: str, *, batch_size: int = 1, timeout: float = 120
) -> dict[str, Any]:
    """Return the seconds until the first answer and the peak resident memory in MiB (None where Linux does not report it).

    Raises:
        RuntimeError: the process failed or took longer than `timeout` seconds.
    """
    started = time.perf_counter()
    arguments = [sys.executable, "-c", _PROGRAM, str(source), backend, precision, str(batch_size)]
    try:
        completed = subprocess.run(arguments, capture_output=True, text=True, timeout=timeout, check=False)
    except subprocess.TimeoutExpired:
        raise RuntimeError(f"no answer within {timeout:.0f} s") from None
    seconds = time.perf_counter() - started
    if completed.returncode:
        raise RuntimeError((completed.stderr.strip().splitlines() or ["it was ended"])[-1])
    peak = json.loads(completed.stdout.strip().splitlines()[-1])
    return {"seconds": round(seconds, 2), "peak_mebibytes": None if peak is None else round(peak)}
