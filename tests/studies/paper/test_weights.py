"""The weights of the starter next to untrained ones, and the sentence that follows from the figures."""

import base64
import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
from tests.builders import tiny_checkpoint
from tests.studies.tasks.task_contexts import TaskContext

from allmlp.checkpoints import save_checkpoint
from allmlp.studies.drawing import to_png
from allmlp.studies.paper.weights import STUDY
from allmlp.studies.study import Arm, ArmResult, StudyOptions


def results(*blocks: tuple[float, float], num_seeds: int = 3, share: float = 0.75) -> list[ArmResult]:
    """Return a checkpoint whose blocks have these frequencies and cosines, next to untrained Mixers with 0.4 and -0.4."""
    arms = STUDY.arms(StudyOptions(num_seeds=num_seeds))
    untrained = [figures(*[block(0.4 + arm.seed / 100, -0.4, 0.5)] * len(blocks)) for arm in arms[1:]]
    trained = figures(*(block(frequency, cosine, share) for frequency, cosine in blocks))
    return [ArmResult(arm, each) for arm, each in zip(arms, [trained, *untrained], strict=True)]


def block(frequency: float, cosine: float, share: float) -> dict[str, Any]:
    units = {"num_units": 8, "num_paired": round(8 * share), "share_paired": share, "median_pair_cosine": cosine}
    return {**units, "median_frequency": frequency, "median_opposite_cosine": cosine}


def figures(*blocks: dict[str, Any]) -> dict[str, Any]:
    numbered = [{"block": number, **each} for number, each in enumerate(blocks, 1)]
    filters = {"num_filters": 4, "median_frequency": blocks[0]["median_frequency"]}
    return {"source": "a test", "blocks": numbered, "filters": filters}


LIKE, UNLIKE = (0.2, -0.8), (0.41, -0.4)


@pytest.mark.parametrize(
    ("found", "verdict", "count"),
    [
        (results(LIKE, UNLIKE), "Agrees with the paper", "1 of the first 1 block, and not in the last"),
        (results(LIKE, LIKE, LIKE, UNLIKE), "Agrees with the paper", "3 of the first 3 blocks, and not in the last"),
        (results(LIKE, UNLIKE, UNLIKE, UNLIKE), "Points the same way", "1 of the first 3 blocks"),
        (results(LIKE, LIKE, LIKE, UNLIKE, num_seeds=2), "Points the same way", "3 of the first 3 blocks"),
        (results(LIKE, LIKE, LIKE, UNLIKE, share=0.4), "Points the same way", "3 of the first 3 blocks"),
        (results(LIKE, LIKE, LIKE, LIKE), "Points the same way", "3 of the first 3 blocks, and also in the last"),
        (results((0.2, -0.3), UNLIKE), "Does not agree", "0 of the first 1 block"),
        (results(UNLIKE, UNLIKE), "Does not agree", "0 of the first 1 block"),
    ],
)
def test_the_sentence_follows_from_the_figures(found: list[ArmResult], verdict: str, count: str) -> None:
    said = STUDY.agreement(found)
    assert said.startswith(f"{verdict}: in {count}")
    assert f"(n = {len(found) - 1} untrained Mixers, one checkpoint)." in said
    early, blocks = (int(word) for word in (count[0], count.split()[4]))
    assert ("The likely reason" in said) is (early < blocks)  # of the starter, which is small


def test_no_reason_is_given_for_other_checkpoints() -> None:
    found = results(LIKE, UNLIKE, UNLIKE, UNLIKE)
    others = [
        each._replace(arm=dataclasses.replace(each.arm, settings={**each.arm.settings, "checkpoint": "b16-i21k"}))
        for each in found
    ]
    assert STUDY.agreement(others).endswith("one checkpoint).")


def test_the_table_has_every_block_next_to_untrained_ones() -> None:
    table = STUDY.table(results(LIKE, UNLIKE))
    assert {len(row) for row in table.rows} == {len(table.columns)}
    assert tuple(table.rows[0]) == (
        "units of block 1",
        "0.200",
        "0.410 ± 0.010",
        "-0.80",
        "-0.40 ± 0.00",
        "75",
        "50 ± 0",
        "3",
    )
    assert [row[0] for row in table.rows] == ["units of block 1", "units of block 2", "patch filters"]


def test_a_checkpoint_is_measured_and_drawn(tmp_path: Path) -> None:
    save_checkpoint(tiny_checkpoint(image_size=(32, 32), tokens_mlp_dim=8), tmp_path / "mine")
    options = StudyOptions(num_seeds=2, checkpoint=str(tmp_path / "mine"))
    found = [ArmResult(arm, STUDY.run(arm, TaskContext(tmp_path, options))) for arm in STUDY.arms(options)]
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
