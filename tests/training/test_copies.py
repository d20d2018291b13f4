"""Training warns of copies in several splits and classes, and resumes with the split that it started with."""

import json
from dataclasses import replace
from pathlib import Path

from tests.training.small_runs import TINY

from allmlp import train
from allmlp.runs.layout import RunLayout
from allmlp.training import NoProgress

DUPLICATES = Path(__file__).parents[1] / "cases" / "layouts" / "duplicates.zip"


class Messages(NoProgress):
    def __init__(self) -> None:
        self.lines: list[str] = []

    def message(self, text: str) -> None:
        self.lines.append(text)


def test_training_warns_of_leaks_and_labels_once(tmp_path: Path) -> None:
    messages = Messages()
    recipe = replace(TINY, num_epochs=1, batch_size=4)
    train(recipe, DUPLICATES, tmp_path / "run", device="cpu", progress=messages)
    warnings = [line for line in messages.lines if line.startswith("warning ") and "fewer than 20" not in line]
    assert len(warnings) == 2
    assert warnings[0].startswith("warning 9 photos of train are in test: ")
    assert warnings[1] == "warning one photo has two labels: apple/0.jpg = leaf/copy.jpg"
    split = json.loads(RunLayout(tmp_path / "run").split.read_text())
    assert len({"apple/0.jpg", "leaf/copy.jpg"} & set(split["train"])) in (0, 2)
    assert "one photo has two labels" in RunLayout(tmp_path / "run").log.read_text()
