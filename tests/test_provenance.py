"""What is written next to a number."""

import json
import statistics
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import torch

from allmlp.provenance import environment, record, spread


def test_a_measurement_says_what_it_was_made_with(tmp_path):
    path = record(tmp_path / "figure.json", {"speed": spread([1.0, 3.0])}, command="python measure.py")
    written = json.loads(path.read_text())
    assert list(written) == ["environment", "speed"]
    assert written["environment"]["command"] == "python measure.py"
    assert written["environment"]["torch"] == torch.__version__
    assert written["environment"]["device"].startswith("cpu (")


def test_a_commit_is_given_in_a_checkout():
    root = Path(__file__).parents[1]
    if not (root / ".git").exists():
        assert "commit" not in environment()
        return
    head = subprocess.run(["git", "-C", root, "rev-parse", "HEAD"], capture_output=True, text=True, check=True).stdout
    assert head.startswith(environment()["commit"].rstrip("+"))


def test_spread_is_that_of_the_sample():
    values = [0.5, 0.25, 0.75, 0.625]
    figures = spread(values)
    assert figures["n"] == 4
    assert figures["mean"] == statistics.fmean(values)
    assert abs(figures["std"] - statistics.stdev(values)) < 1e-5
    assert (figures["median"], figures["min"], figures["max"]) == (0.5625, 0.25, 0.75)
    assert spread([2.0])["std"] == 0.0


def test_instruction_sets_are_known_without_torch(monkeypatch):
    expected = environment()["instruction_sets"].split()
    monkeypatch.setitem(sys.modules, "onnxruntime", SimpleNamespace(__version__="1.0"))
    monkeypatch.delitem(sys.modules, "torch")
    facts = environment()
    assert "torch" not in facts and "torch" not in sys.modules
    assert set(expected) <= set(facts["instruction_sets"].split())
    assert facts["device"].startswith("cpu (")
