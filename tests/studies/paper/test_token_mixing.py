"""The study of appendix A.1: its arms run, and the sentence follows from the figures."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.studies.contexts import SmallContext

from allmlp.studies.drawing import to_png
from allmlp.studies.learning.networks import make_network, multiply_adds
from allmlp.studies.paper.token_mixing import PLAIN, STUDY, VARIANTS
from allmlp.studies.study import Arm, ArmResult, StudyOptions


def _arms(**options: int) -> list[Arm]:
    return list(STUDY.arms(StudyOptions(**options)))


def _with_most_slow() -> list[Any]:
    """The plain Mixer and the arm at equal cost are fast tests; every kind of network learns in test_mixer_variants.py."""
    arms = _arms(num_seeds=1, num_steps=10)
    fast = [arm.name == PLAIN or arm.settings["is_equal_cost"] for arm in arms]
    assert sum(fast) == 2
    return [
        pytest.param(arm, marks=() if is_fast else pytest.mark.slow, id=arm.name)
        for arm, is_fast in zip(arms, fast, strict=True)
    ]


@pytest.mark.parametrize("arm", _with_most_slow())
def test_an_arm_runs(arm: Arm, tmp_path: Path) -> None:
    schedule = {**arm.settings["schedule"], "batch_size": 2}
    figures = STUDY.run(replace(arm, settings={**arm.settings, "schedule": schedule}), SmallContext(tmp_path))
    assert json.loads(json.dumps(figures)) == figures
    assert figures["num_steps"] == (9 if arm.settings["is_equal_cost"] else 10)
    assert 0 <= figures["top1"] <= 1


def test_what_costs_more_is_also_trained_at_equal_cost() -> None:
    costs = {
        arm.settings["variant"]: multiply_adds(
            make_network(
                arm.settings["kind"], seed=0, image_size=(32, 32), num_classes=10, widths=arm.settings["widths"]
            ),
            (32, 32),
        )
        for arm in _arms(num_seeds=1)
    }
    dearer = {name for name, cost in costs.items() if cost > 1.01 * costs[PLAIN]}
    assert (
        dearer == {arm.settings["variant"] for arm in _arms() if arm.settings["is_equal_cost"]} == {"4 views grouped"}
    )


def _results(gains: dict[str, float], num_seeds: int = 2) -> list[ArmResult]:
    """Return results that are these shares above a plain 60 %, in which seeds differ by 0.2 points."""

    def figures(arm: Arm) -> dict[str, Any]:
        top1 = 0.6 + gains.get(arm.settings["variant"], 0.0) + (0.002 * arm.seed if arm.name != PLAIN else 0.0)
        facts = {"parameters": 250_000, "multiply_adds": 13_000_000, "num_steps": 1500}
        return {**facts, "top1": top1, "images_per_second": 900.0, "curve": []}

    return [ArmResult(arm, figures(arm)) for arm in _arms(num_seeds=num_seeds)]


@pytest.mark.parametrize(
    ("gains", "num_seeds", "verdict"),
    [
        ({}, 2, "Agrees with the paper"),
        ({}, 1, "Points the same way"),
        ({"pyramid, 64 to 16 tokens": -0.025}, 2, "Agrees with the paper"),  # not much lost
        ({"pyramid, 64 to 16 tokens": -0.3}, 2, "Does not agree"),
        ({"untied across channels": -0.3}, 2, "Does not agree"),
        ({"4 channels grouped by reshape": -0.3}, 2, "Does not agree"),
        ({"4 views grouped": -0.3}, 2, "Does not agree"),
        ({"untied across channels": -0.3}, 1, "Points the other way"),
        ({"untied across channels": 0.013}, 2, "Points the other way"),  # by less than the seeds explain
        ({"4 channels grouped by reshape": 0.015}, 2, "Agrees with the paper"),  # less than the paper's 2 %
        ({"4 views grouped": 0.035}, 2, "Agrees with the paper"),  # as Mixer-S/32
        ({"untied across channels": 0.03}, 2, "Does not agree"),
        ({"4 channels grouped by reshape": 0.03}, 1, "Points the other way"),
        ({"pyramid, 64 to 16 tokens": 0.03}, 2, "Does not agree"),
        ({"linear, one matrix": 0.1}, 2, "Agrees with the paper"),  # which the paper does not have
    ],
)
def test_the_sentence_follows_from_the_figures(gains: dict[str, float], num_seeds: int, verdict: str) -> None:
    assert STUDY.agreement(_results(gains, num_seeds)).startswith(verdict)


def test_seeds_that_differ_much_cannot_agree() -> None:
    results = _results({})
    noisy = [
        ArmResult(arm, {**figures, "top1": figures["top1"] + 0.04 * (-1) ** arm.seed * (arm.name != PLAIN)})
        for arm, figures in results
    ]
    sentence = STUDY.agreement(noisy)
    assert sentence.startswith(
        "Points the same way: nothing gained or lost beyond the paper's words, as far as the seeds tell (unsure: untied"
    )


def test_the_sentence_states_the_numbers() -> None:
    gains = {"untied across channels": 0.03, "pyramid, 64 to 16 tokens": -0.1}
    sentence = STUDY.agreement(_results(gains))
    assert sentence.startswith(
        "Does not agree: more gained than the paper's words allow: untied across channels; more lost than the paper's words "
        "allow: pyramid, 64 to 16 tokens. Minus"
    )
    assert "untied across channels +3.1 ± 0.1 (-1 to +1)" in sentence
    assert "pyramid, 64 to 16 tokens -9.9 ± 0.1 (-3 to +1)" in sentence
    assert sentence.endswith("(2 seeds).")
    alone = STUDY.agreement(_results(gains, num_seeds=1))
    assert "pyramid, 64 to 16 tokens, but not surely. Minus" in alone


def test_table_and_plot() -> None:
    results = _results({"linear, one matrix": -0.02})
    table = STUDY.table(results)
    assert [row[0] for row in table.rows] == list(dict.fromkeys(arm.name for arm in _arms()))
    assert {len(row) for row in table.rows} == {len(table.columns)}
    assert ["linear, one matrix", "", "0.25 M", "13.0 M", "1,500", "900", "58.1 ± 0.1", "-1.9 ± 0.1", "2"] in [
        list(row) for row in table.rows
    ]
    assert STUDY.figure is not None
    assert to_png(STUDY.figure(results)).startswith(b"\x89PNG")


def test_the_papers_four_changes_are_there() -> None:
    kinds = {variant.kind for variant in VARIANTS.values() if variant.bounds is not None}
    assert kinds == {"mixer_untied", "mixer_grouped", "mixer_views", "mixer_pyramid"}
