"""The study of fine-tuning at a higher resolution: equal cost, continuing, and the sentence that follows from the figures."""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.studies.contexts import SmallContext

from allmlp.model import MlpMixer
from allmlp.studies.drawing import to_png
from allmlp.studies.learning.networks import make_network
from allmlp.studies.paper import resolution
from allmlp.studies.paper.resolution import KEPT, METHODS, RAISED, SCRATCH, STUDY, WIDTHS, raised
from allmlp.studies.study import Arm, ArmResult, StudyOptions


def _small(arm: Arm) -> Arm:
    """Return an arm with batches of 4."""
    changed = {key: {**arm.settings[key], "batch_size": 4} for key in ("pretraining", "finetuning")}
    return replace(arm, settings={**arm.settings, **changed})


def _arms(num_steps: int = 8) -> dict[str, Arm]:
    return {arm.name: _small(arm) for arm in STUDY.arms(StudyOptions(num_seeds=1, num_steps=num_steps))}


def _run(arm: Arm, folder: Path) -> Mapping[str, Any]:
    folder.mkdir(exist_ok=True)
    figures = STUDY.run(arm, SmallContext(folder))
    assert json.loads(json.dumps(figures)) == figures
    return figures


def test_the_controls_cost_as_much_in_all(tmp_path: Path) -> None:
    figures = {name: _run(arm, tmp_path / str(index)) for index, (name, arm) in enumerate(_arms().items())}
    for method in METHODS:
        finetuned, scratch = figures[RAISED[method]], figures[SCRATCH[method]]
        assert finetuned["parameters"] == scratch["parameters"]
        assert finetuned["multiply_adds"] == scratch["multiply_adds"]
        difference = abs(finetuned["multiply_adds_in_training"] - scratch["multiply_adds_in_training"])
        assert difference <= 0.5 * 4 * scratch["multiply_adds"]  # half a step of 4 photos
        assert finetuned["curve"][0]["top1"] == finetuned["at_once"]
        assert finetuned["curve"][0]["cost"] == finetuned["pretraining_curve"][-1]["cost"]
        for curve in (finetuned["curve"], scratch["curve"]):
            assert curve[-1]["cost"] <= figures[RAISED["block"]]["multiply_adds_in_training"] * 1.1
    # The same pre-training, at 16 pixels, leads to all three.
    assert len({json.dumps(figures[name]["pretraining_curve"]) for name in (KEPT, *RAISED.values())}) == 1
    assert figures[KEPT]["multiply_adds"] < 0.3 * figures[RAISED["resample"]]["multiply_adds"]


def test_blocks_see_the_parts_of_a_photo_one_by_one() -> None:
    """Appendix C: before fine-tuning, the logits are the mean of those of the 2 x 2 parts."""
    network = make_network("mixer", seed=0, image_size=(16, 16), num_classes=3, widths=WIDTHS)
    assert isinstance(network, MlpMixer)
    torch.manual_seed(0)
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    images = torch.randn(2, 3, 32, 32)
    parts = [images[..., top : top + 16, left : left + 16] for top in (0, 16) for left in (0, 16)]
    expected = torch.stack([network(part) for part in parts]).mean(0)
    torch.testing.assert_close(raised(network, "block")(images), expected, rtol=1e-4, atol=1e-4)
    assert raised(network, None) is network
    assert raised(network, "resample").config.tokens_mlp_dim == WIDTHS["tokens_mlp_dim"]


def test_an_arm_that_is_stopped_in_fine_tuning_continues(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    arm = _arms()[RAISED["block"]]
    expected = _run(arm, tmp_path / "whole")
    with monkeypatch.context() as patch:
        patch.setattr(resolution, "scored_top1", _interrupt)
        with pytest.raises(KeyboardInterrupt):
            _run(arm, tmp_path / "stopped")
    assert (tmp_path / "stopped" / "pre-training").exists()
    actual = _run(arm, tmp_path / "stopped")
    measured = ("minutes", "core_hours", "images_per_second", "pretraining_images_per_second")
    assert {key: actual[key] for key in actual if key not in measured} == {
        key: expected[key] for key in expected if key not in measured
    }


def _interrupt(*_arguments: Any, **_options: Any) -> float:
    raise KeyboardInterrupt


def _results(kept: float, block: float, *, num_seeds: int = 2, noise: float = 0.001) -> list[ArmResult]:
    """Return results with these accuracies; between the seeds, what is gained by blocks differs by `noise`."""
    top1 = {KEPT: kept, RAISED["block"]: block}

    def figures(arm: Arm) -> dict[str, Any]:
        value = top1.get(arm.name, 0.55) + (noise * arm.seed if arm.name == RAISED["block"] else 0.0)
        curve = [{"cost": 1e12 * point, "top1": value * point / 3} for point in (1, 2, 3)]
        facts = {"parameters": 250_000, "multiply_adds": 17_000_000, "multiply_adds_in_training": 3 * 10**12}
        before = {"at_once": 0.3, "pretraining_curve": curve} if arm.settings["is_pretrained"] else {}
        return {**facts, **before, "top1": value, "images_per_second": 900.0, "curve": curve}

    return [ArmResult(arm, figures(arm)) for arm in STUDY.arms(StudyOptions(num_seeds=num_seeds))]


@pytest.mark.parametrize(
    ("kept", "block", "options", "verdict"),
    [
        (0.6, 0.63, {}, "Agrees with the paper"),
        (0.6, 0.63, {"num_seeds": 1}, "Points the same way"),
        (0.6, 0.61, {"noise": 0.05}, "Points the same way"),  # within the noise
        (0.6, 0.62, {"noise": 0.02}, "Points the same way"),  # two seeds that differ: 2 and 4 points
        (0.6, 0.59, {}, "Does not agree"),
        (0.6, 0.59, {"num_seeds": 1}, "Points the other way"),
        (0.6, 0.58, {"noise": 0.015}, "Points the other way"),  # 2 and 0.5 points less: within the noise
    ],
)
def test_the_sentence_follows_from_the_figures(
    kept: float, block: float, options: dict[str, Any], verdict: str
) -> None:
    sentence = STUDY.agreement(_results(kept, block, **options))
    assert sentence.startswith(verdict)
    assert f"({options.get('num_seeds', 2)} seed" in sentence


def test_table_and_plot() -> None:
    results = _results(0.6, 0.63)
    table = STUDY.table(results)
    assert [row[0] for row in table.rows] == [KEPT, *RAISED.values(), *SCRATCH.values()]
    assert {len(row) for row in table.rows} == {len(table.columns)}
    assert list(table.rows[1]) == [
        RAISED["block"],
        "0.25 M",
        "17.0 M",
        "3.00 T",
        "900",
        "30.0 ± 0.0",
        "63.0 ± 0.1",
        "2",
    ]
    assert STUDY.figure is not None
    assert to_png(STUDY.figure(results)).startswith(b"\x89PNG")
