"""benchmarks/gpu.py: every part runs on a CPU with tiny Mixers; a part that fails, hangs or dies does not end the others."""

import json
from pathlib import Path

import pytest
from experiments.tables.gpu import GPU_PARTS
from tests.forks import ROOT, run_python

# In a process of its own, because the parts are forked, which a process that has computed with several threads may not survive.
PROGRAM = """
import runpy, sys
sys.path.insert(0, "benchmarks")
sys.argv = ["gpu.py", *sys.argv[1:]]
runpy.run_path("benchmarks/gpu.py", run_name="__main__")
"""

FAULTS = """
import json, os, signal, subprocess, sys, tempfile, time
from pathlib import Path
sys.path.insert(0, "benchmarks")
from gpu import in_process
from gpu_parts.settings import Settings

def good(settings, save):
    save({"figure": 1})

def failing(settings, save):
    save({"figure": 1})
    raise ValueError("no such kernel")

def hanging(settings, save):
    save({"figure": 1, "child": subprocess.Popen(["sleep", "600"]).pid})
    time.sleep(600)

def dying(settings, save):
    save({"figure": 1})
    os.kill(os.getpid(), signal.SIGKILL)

with tempfile.TemporaryDirectory() as folder:
    settings = Settings(device="cpu", is_quick=True, seconds=5)
    parts = (failing, hanging, dying, good)
    print(json.dumps({part.__name__: in_process(part, settings, Path(folder)) for part in parts}))
"""


def test_a_part_that_fails_hangs_or_dies_is_recorded_with_its_figures() -> None:
    found = run_python(FAULTS, cwd=ROOT)
    assert found.returncode == 0, found.stderr
    parts = json.loads(found.stdout)
    assert all(part["figure"] == 1 for part in parts.values())
    assert parts["failing"]["error"] == "ValueError: no such kernel"
    assert "took longer than 5 s and was ended" in parts["hanging"]["error"]
    assert parts["dying"]["error"] == "its process ended with exit code -9"
    assert "error" not in parts["good"]
    child = Path("/proc") / str(parts["hanging"]["child"]) / "stat"  # what a part started ends with it
    assert not child.exists() or child.read_text().rpartition(")")[2].split()[0] == "Z"


def test_without_a_gpu_the_command_says_so_and_writes_nothing(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    found = run_python(PROGRAM, "--out", tmp_path / "gpu.json", cwd=ROOT)
    assert found.returncode == 1
    assert "The device cuda cannot be used. ConfigError: device cuda is not available" in found.stderr
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_all_parts_run_on_a_cpu_and_their_figures_fill_the_tables(tmp_path: Path) -> None:
    found = run_python(PROGRAM, "--device", "cpu", "--quick", "--out", tmp_path / "gpu.json", cwd=ROOT, timeout=600)
    assert found.returncode == 0, found.stdout + found.stderr
    result = json.loads((tmp_path / "gpu.json").read_text())
    parts = result["parts"]
    assert not [name for name, part in parts.items() if "error" in part]
    # On a CPU, the exact answers are known.
    assert parts["logits"]["variants"]["tiny"]["float32"]["largest_relative_difference"] == 0.0
    assert parts["resume"]["two_whole_runs"]["same_bits"]
    assert parts["resume"]["resumed_and_whole"]["same_bits"]
    ways = parts["processes"]["losses"]["float32"]
    alone = ways.pop("one process, no group")
    assert alone["losses"][-1] < alone["losses"][0] - 0.01  # by much more than the processes may differ
    assert set(ways) == {"DDP, 1 process", "FSDP2, 1 process", "DDP, 2 processes", "FSDP2, 2 processes"}
    assert all(way["largest_relative_difference"] < 1e-4 for way in ways.values())  # float32 rounding in eight steps
    rows = parts["inference"]["rows"]
    assert {"allmlp", "timm", "allmlp, compiled", "timm, compiled"} <= {row["contestant"] for row in rows}
    assert all(row["images_per_second"] > 0 for row in rows)
    for name, write in GPU_PARTS.items():
        assert write(parts[name]).count("\n") >= 2
