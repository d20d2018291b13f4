"""The weights of the starter next to untrained ones, and the sentence that follows from the figures."""

import base64
import json
from pathlib import Path
from typing import Any

import pytest
from tests.builders import tiny_checkpoint
from tests.studies.tasks.places import Place

from allmlp.checkpoints import save_checkpoint
from allmlp.studies.drawing import to_png
from allmlp.studies.paper.weights import STUDY
from allmlp.studies.study import Arm, ArmResult, StudyOptions


def results(frequency: float, cosine: float, num_seeds: int = 3) -> list[ArmResult]:
    """Return a checkpoint with these figures next to untrained Mixers with 0.4 and -0.4, and a little more with each seed."""
    arms = STUDY.arms(StudyOptions(num_seeds=num_seeds))
    return [
        ArmResult(
            arm, figures(frequency, cosine) if arm.settings["is_trained"] else figures(0.4 + arm.seed / 100, -0.4)
        )
        for arm in arms
    ]


def figures(frequency: float, cosine: float) -> dict[str, Any]:
    units = {"num_units": 8, "num_paired": 6, "share_paired": 0.75, "median_pair_cosine": cosine}
    block = {**units, "median_frequency": frequency, "median_opposite_cosine": cosine}
    filters = {"num_filters": 4, "median_frequency": frequency}
    return {"source": "a test", "blocks": [{"block": number, **block} for number in (1, 2)], "filters": filters}


@pytest.mark.parametrize(
    ("frequency", "cosine", "num_seeds", "verdict"),
    [
        (0.2, -0.8, 3, "Agrees with the paper"),
        (0.2, -0.8, 2, "Points the same way"),
        (0.2, -0.3, 3, "Points the same way"),
        (0.41, -0.3, 3, "Does not agree"),
    ],
)
def test_the_sentence_follows_from_the_figures(frequency: float, cosine: float, num_seeds: int, verdict: str) -> None:
    said = STUDY.agreement(results(frequency, cosine, num_seeds))
    assert said.startswith(f"{verdict}: the median frequency of the first block's units is {frequency:.3f}")
    assert f"(n = {num_seeds} untrained Mixers, one checkpoint)" in said


def test_the_table_has_every_block_next_to_untrained_ones() -> None:
    table = STUDY.table(results(0.2, -0.8))
    assert {len(row) for row in table.rows} == {len(table.columns)}
    assert tuple(table.rows[0]) == (
        "units of block 1",
        "0.200",
        "0.410 ± 0.010",
        "-0.80",
        "-0.40 ± 0.00",
        "75",
        "75 ± 0",
        "3",
    )
    assert [row[0] for row in table.rows] == ["units of block 1", "units of block 2", "patch filters"]


def test_a_checkpoint_is_measured_and_drawn(tmp_path: Path) -> None:
    save_checkpoint(tiny_checkpoint(image_size=(32, 32), tokens_mlp_dim=8), tmp_path / "mine")
    options = StudyOptions(num_seeds=2, checkpoint=str(tmp_path / "mine"))
    found = [ArmResult(arm, STUDY.run(arm, Place(tmp_path, options))) for arm in STUDY.arms(options)]
    assert json.loads(json.dumps([result.figures for result in found])) == [result.figures for result in found]
    assert [result.arm.seed for result in found] == [0, 0, 1]
    assert found[1].figures["blocks"] != found[2].figures["blocks"]
    assert len(found[0].figures["blocks"]) == 2
    assert base64.b64decode(found[0].figures["picture"]).startswith(b"\x89PNG")
    assert STUDY.figure is not None
    assert to_png(STUDY.figure(found)).startswith(b"\x89PNG")


def test_settings_are_json() -> None:
    for arm in STUDY.arms(StudyOptions()):
        assert isinstance(arm, Arm)
        assert json.loads(json.dumps(dict(arm.settings))) == dict(arm.settings)
