"""Import of the engines: what they would do besides computing."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

_PROGRAM = """
import os
from allmlp.exports import import_onnxruntime
runtime = import_onnxruntime()
print(os.environ["ORT_DISABLE_TELEMETRY"], len(os.listdir("/proc/self/task")) if os.path.isdir("/proc/self/task") else 1)
"""


def _run(program: str, home: Path, **variables: str) -> "subprocess.CompletedProcess[str]":
    environment = {name: value for name, value in os.environ.items() if name != "ORT_DISABLE_TELEMETRY"}
    environment |= {"HOME": str(home), "XDG_CACHE_HOME": str(home / "cache"), "OPENBLAS_NUM_THREADS": "1", **variables}
    return subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)


def test_onnx_runtime_leaves_no_identifier_of_the_machine(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    completed = _run(_PROGRAM, tmp_path)
    assert completed.stdout.split()[0] == "1"
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]
    assert "elemetry" not in completed.stderr


def test_whoever_set_the_variable_keeps_it(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    assert _run(_PROGRAM, tmp_path, ORT_DISABLE_TELEMETRY="0").stdout.split()[0] == "0"
