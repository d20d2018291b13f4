"""The weights of the starter next to untrained ones, and the sentence that follows from the figures."""

import base64
import json
from pathlib import Path
from typing import Any

import pytest
from tests.builders import tiny_checkpoint
from tests.studies.tasks.task_contexts import TaskContext

from allmlp.checkpoints import save_checkpoint
from allmlp.studies.drawing import to_png
from allmlp.studies.paper.weights import STUDY, differences
from allmlp.studies.study import Arm, ArmResult, StudyOptions


def results(*blocks: tuple[float, float], num_seeds: int = 3, share: float = 0.75) -> list[ArmResult]:
    """Return a checkpoint whose blocks have these frequencies and cosines, next to untrained Mixers.

    Those have frequencies of 0.40, 0.41 and 0.42 and cosines of -0.40, -0.41 and -0.42: means of 0.41 and -0.41, and standard
    deviations of 0.01. Half of their units are in pairs.
    """
    arms = STUDY.arms(StudyOptions(num_seeds=num_seeds))
    untrained = [figures(*[block(0.4 + arm.seed / 100, -0.4 - arm.seed / 100, 0.5)] * len(blocks)) for arm in arms[1:]]
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
BY_CHANCE = (0.395, -0.425)  # beyond all untrained ones, by 1.5 standard deviations


@pytest.mark.parametrize(
    ("found", "verdict", "where"),
    [
        (results(LIKE, UNLIKE), "Agrees with the paper", "1 of the first 1 block (1), and in none of the 1 deeper"),
        (
            results(LIKE, LIKE, LIKE, UNLIKE),
            "Agrees with the paper",
            "3 of the first 3 blocks (1, 2 and 3), and in none of the 1 deeper block",
        ),
        (
            results(LIKE, UNLIKE, UNLIKE, LIKE, UNLIKE, LIKE, UNLIKE),
            "Points the same way",
            "1 of the first 3 blocks (1), and in 2 of the 4 deeper blocks (4 and 6)",
        ),
        (
            results(LIKE, LIKE, LIKE, UNLIKE, LIKE, UNLIKE),
            "Points the same way",  # a deeper block has it, although the last has not
            "3 of the first 3 blocks (1, 2 and 3), and in 1 of the 3 deeper blocks (5)",
        ),
        (results(LIKE, LIKE, LIKE, UNLIKE, num_seeds=2), "Points the same way", "3 of the first 3 blocks"),
        (results(LIKE, LIKE, LIKE, UNLIKE, share=0.4), "Points the same way", "3 of the first 3 blocks"),
        (results(LIKE, LIKE, LIKE, LIKE), "Points the same way", "3 of the first 3 blocks (1, 2 and 3), and in 1 of"),
        (results(UNLIKE, LIKE, LIKE, UNLIKE), "Points the same way", "2 of the first 3 blocks (2 and 3)"),
        (results(UNLIKE, LIKE, UNLIKE, UNLIKE), "Does not agree", "1 of the first 3 blocks (2)"),
        (results(BY_CHANCE, BY_CHANCE, BY_CHANCE, UNLIKE), "Does not agree", "none of the first 3 blocks"),
        (results((0.2, -0.3), UNLIKE), "Does not agree", "none of the first 1 block"),
        (results(UNLIKE, UNLIKE), "Does not agree", "none of the first 1 block"),
        (results(UNLIKE, UNLIKE, num_seeds=1), "Points the other way", "none of the first 1 block"),
        (results(LIKE), "Agrees with the paper", "1 of the first 1 block (1), units"),
    ],
)
def test_the_sentence_follows_from_the_figures(found: list[ArmResult], verdict: str, where: str) -> None:
    said = STUDY.agreement(found)
    assert said.startswith(f"{verdict}: in {where}")
    assert said.endswith(f"(n = {len(found) - 1} untrained Mixers, one checkpoint).")
    assert ("both by more than 2 of their standard deviations" in said) is (len(found) > 2)


def test_the_differences_of_every_measure_are_named() -> None:
    """The first block is lower in both measures, the second in one; the third is above, the last as untrained ones."""
    found = results((0.3, -0.8), (0.3, -0.41), (0.5, -0.2), (0.41, -0.41), share=0.5)
    assert differences(found) == (
        "Compared with untrained Mixers, by more than 2 of their standard deviations, units have lower frequencies in blocks 1 "
        "and 2 and higher ones in block 3; closer opposites in block 1 and more distant ones in block 3; neither fewer pairs "
        "nor more pairs in any block. The patch filters have a lower frequency."
    )
    more = differences(results(UNLIKE, UNLIKE, share=0.75))
    assert more.endswith("; more pairs in blocks 1 and 2. The patch filters have a similar frequency.")


def test_the_table_has_every_block_next_to_untrained_ones() -> None:
    table = STUDY.table(results(LIKE, UNLIKE))
    assert {len(row) for row in table.rows} == {len(table.columns)}
    assert tuple(table.rows[0]) == (
        "units of block 1",
        "0.200",
        "0.410 ± 0.010",
        "-0.80",
        "-0.41 ± 0.01",
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
