"""benchmarks/predicting.py runs as a whole, with the smallest model and few photos, and its table has a row for each figure."""

import json
import sys
from pathlib import Path

import pytest
from benchmarks import predicting
from experiments.tables import speed


@pytest.mark.slow
def test_processes_and_a_folder_are_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    options = ["--rounds", "1", "--photos", "3", "--start-up-model", "starter", "--folder-models", "starter"]
    monkeypatch.setenv("ALLMLP_HOME", str(tmp_path))  # which the program changes
    monkeypatch.setattr(sys, "argv", ["predicting.py", *options, "--result", str(tmp_path / "predicting.json")])
    predicting.main()
    result = json.loads((tmp_path / "predicting.json").read_text())
    ours = {name for name in result["start_up"] if name.startswith("allmlp starter, ")}
    assert {name.partition(", ")[2] for name in ours} == {"onnxruntime", "openvino"}
    assert all(figures["seconds"]["median"] > 0 for figures in result["start_up"].values())
    folder = result["folders"]["starter"]
    assert folder["share_of_model_rate"]["median"] == pytest.approx(
        folder["folder_photos_per_second"]["median"] / folder["model_photos_per_second"]["median"], rel=1e-3
    )


def test_the_table_has_every_figure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spread = {"median": 2.0, "min": 1.0, "max": 3.0, "n": 10}
    rates = dict.fromkeys(("folder_photos_per_second", "model_photos_per_second", "share_of_model_rate"), spread)
    result = {
        "environment": {"command": "python x.py", "commit": "abc", "device": "cpu", "torch": "2"},
        "num_photos": 500,
        "size": [500, 375],
        "start_up": {
            "timm": {"seconds": spread, "share_of_timm": 1.0},
            "allmlp": {"seconds": spread, "share_of_timm": 0.25},
        },
        "folders": {"S/16": {"backend": "onnxruntime", **rates}},
    }
    path = tmp_path / "benchmarks" / "results" / "predicting.json"
    path.parent.mkdir(parents=True)
    monkeypatch.setattr(speed, "ROOT", tmp_path)
    monkeypatch.setattr(speed, "read", lambda _: json.loads(path.read_text()))
    assert "Not measured yet" in speed.predicting()
    path.write_text(json.dumps(result))
    lines = speed.predicting().splitlines()
    assert "| allmlp | 2.00 (1.00 to 3.00) | 0.25 | 10 |" in lines
    row = "| S/16 | onnxruntime | 2.00 (1.00 to 3.00) | 2.00 (1.00 to 3.00) | 2.00 (1.00 to 3.00) | 10 |"
    assert row in lines and "500 JPEGs of 500 × 375 pixels:" in lines


def test_large_numbers_have_no_exponent() -> None:
    assert "e+0" not in speed.speed() + speed.training_cost() + speed.scaling()
    assert "| blocks | blocks |" not in speed.scaling()
