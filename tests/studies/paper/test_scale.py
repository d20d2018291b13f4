"""Scale: the family, an arm, the speed of the networks, and the sentence that follows from the figures."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
from tests.studies.contexts import BrightAndDark

from allmlp.studies.drawing import to_png
from allmlp.studies.learning.networks import make_network, multiply_adds
from allmlp.studies.paper.scale import NETWORKS, RATES, SIZES, STUDY
from allmlp.studies.study import ArmResult, StudyOptions


def test_the_family_has_six_mixers_with_the_proportions_of_table_1() -> None:
    mixers = [widths for kind, widths in NETWORKS.values() if kind == "mixer"]
    assert len(mixers) == 6
    for widths in mixers:
        assert widths["hidden_dim"] == 2 * widths["tokens_mlp_dim"]
        assert 4 * widths["hidden_dim"] == widths["channels_mlp_dim"]
        assert all(size % widths["patch_size"] == 0 for size in SIZES)


def test_every_mixer_has_a_rival_of_at_most_its_cost() -> None:
    costs = {
        (kind, name, size): multiply_adds(
            make_network(kind, seed=0, image_size=(size, size), num_classes=10, widths=widths), (size, size)
        )
        for name, (kind, widths) in NETWORKS.items()
        for size in SIZES
    }
    mixers = sorted(cost for (kind, _, _), cost in costs.items() if kind == "mixer")
    rivals = {kind: min(cost for (other, _, _), cost in costs.items() if other == kind) for kind in ("vit", "resnet")}
    assert rivals["resnet"] <= 0.7e6 < mixers[0]
    assert rivals["vit"] <= mixers[1]


@pytest.mark.parametrize("name", ["Mixer-2/32, 24 pixels", "ViT-2/32, 24 pixels", "ResNet-8, quarter width, 24 pixels"])
def test_an_arm(name: str, tmp_path: Path) -> None:
    arm = next(arm for arm in STUDY.arms(StudyOptions(num_steps=2)) if arm.name == name)
    schedule = {**arm.settings["schedule"], "batch_size": 8}
    figures = STUDY.run(
        dataclasses.replace(arm, settings={**arm.settings, "schedule": schedule}), BrightAndDark(tmp_path)
    )
    assert figures["photos_seen"] == 16
    assert figures["core_hours"] >= 0
    assert json.loads(json.dumps(dict(figures))) == dict(figures)


def test_the_networks_take_turns(tmp_path: Path) -> None:
    (arm,) = [arm for arm in STUDY.arms(StudyOptions(num_steps=2)) if arm.name == RATES]
    networks = {name: arm.settings["networks"][name] for name in ("Mixer-2/32", "Mixer-4/96")}
    settings = {**arm.settings, "networks": networks, "batch_size": 4, "num_rounds": 3}
    figures = STUDY.run(dataclasses.replace(arm, settings=settings), BrightAndDark(tmp_path))
    assert list(figures) == [f"{name}, {size} pixels" for size in SIZES for name in networks]
    for size in SIZES:  # 18 times the multiply-adds
        rates = [figures[f"{name}, {size} pixels"]["images_per_core_second"] for name in networks]
        assert rates[0] > rates[1]


def _results(below: tuple[float, float], num_seeds: int = 2) -> list[ArmResult]:
    """Return results in which cheap and dear Mixers are so far below ViTs and ResNets of their cost.

    The core-hours have nothing to do with the multiply-adds, as if other programs had run.
    """
    results = []
    mixers = [name for name, (kind, _) in NETWORKS.items() if kind == "mixer"]
    for arm in STUDY.arms(StudyOptions(num_seeds=num_seeds)):
        if arm.name == RATES:
            rates = {f"{name}, {size} pixels": {"images_per_second": 100.0} for name in NETWORKS for size in SIZES}
            results.append(ArmResult(arm, rates))
            continue
        name, is_large = arm.settings["network"], arm.settings["size"] == SIZES[1]
        # Cheap ones cost 10 or 20, dear ones 100 or 200; the best at these prices reach 50 and 70 %.
        is_dear = mixers.index(name) >= 3 if name in mixers else name in ("ViT-6/96", "ResNet-20")
        cost, best = (100, 0.7) if is_dear else (10, 0.5)
        top1 = best - below[is_dear] if name in mixers else best
        results.append(ArmResult(arm, _figures(cost * (2 if is_large else 1), top1 + 0.002 * arm.seed)))
    return results


def _figures(millions: int, top1: float) -> dict[str, Any]:
    counts = {"parameters": 1_000_000, "multiply_adds": 1_000_000 * millions, "photos_seen": 100_000}
    return {**counts, "core_hours": 300 / millions, "top1": top1}


@pytest.mark.parametrize(
    ("below", "num_seeds", "verdict"),
    [
        ((0.05, 0.0), 2, "Agrees with the paper"),
        ((0.05, 0.0), 1, "Points the same way"),
        ((0.05, 0.02), 2, "Points the same way"),
        ((0.3, 0.0), 2, "Points the same way"),  # small ones are more than slightly below
        ((0.0, 0.0), 2, "Points the same way"),  # small Mixers are on the frontier, too
        ((0.02, 0.05), 2, "Does not agree"),
        ((0.02, 0.05), 1, "Points the other way"),
    ],
)
def test_the_sentence_follows_from_the_figures(below: tuple[float, float], num_seeds: int, verdict: str) -> None:
    sentence = STUDY.agreement(_results(below, num_seeds))
    assert sentence.startswith(verdict)
    assert f"the cheaper 6 of the 12 Mixers are {100 * below[0]:.1f} points below" in sentence
    assert f"the dearer 6 are {100 * below[1]:.1f} points below" in sentence
    assert f"({num_seeds} seed" in sentence


def test_mixers_without_a_rival_are_left_out() -> None:
    """Without cheap ViTs and ResNets, no cheap Mixer can be below them: the dear ones alone decide."""
    results = [
        result
        for result in _results((0.05, 0.0))
        if result.arm.name == RATES
        or result.arm.settings["kind"] == "mixer"
        or result.arm.settings["network"] in ("ViT-6/96", "ResNet-20")
    ]
    sentence = STUDY.agreement(results)
    assert sentence.startswith("Points the same way: the cheaper 3 of the 6 Mixers are 0.0 points below")
    assert "(6 Mixers without such a rival are left out)" in sentence


def test_better_mixers_are_no_rivals() -> None:
    """A Mixer that is far below another one, but level with ViTs and ResNets, is not below the others."""
    worse = [
        result._replace(figures={**result.figures, "top1": result.figures["top1"] + 0.2})
        if result.arm.name != RATES and result.arm.settings["network"] == "Mixer-2/32"
        else result
        for result in _results((0.0, 0.0))
    ]
    assert "the cheaper 6 of the 12 Mixers are 0.0 points below" in STUDY.agreement(worse)


def test_table_and_plot() -> None:
    results = _results((0.05, 0.0))
    table = STUDY.table(results)
    assert len(table.rows) == 28
    assert {len(row) for row in table.rows} == {len(table.columns)}
    # 3 x 10 M multiply-adds x 100,000 photos; the frontier is that of multiply-adds, not of the 30 core-hours
    expected = ["ResNet-8", "24", "1.00 M", "10.0 M", "3.00", "30.0", "100", "50.1 ± 0.1", "cost", "2"]
    assert expected in [list(row) for row in table.rows]
    assert STUDY.figure is not None
    assert to_png(STUDY.figure(results)).startswith(b"\x89PNG")


def test_hours_and_rates_of_a_gpu_are_named_as_such() -> None:
    results = _results((0.05, 0.0))
    on_gpu = [result._replace(figures={**result.figures, "device": "cuda"}) for result in results]
    for found, columns in (
        (results, ("core-hours of training", "images/s per core")),
        (on_gpu, ("GPU-hours of training", "images/s")),
    ):
        assert {*columns} <= {*STUDY.table(found).columns}


def test_settings_are_json_and_all_arms_learn_alike() -> None:
    arms = STUDY.arms(StudyOptions(num_steps=5, num_seeds=1))
    assert len(arms) == 29
    for arm in arms:
        assert json.loads(json.dumps(dict(arm.settings))) == dict(arm.settings)
    assert len({json.dumps(arm.settings["schedule"]) for arm in arms if arm.name != RATES}) == 1
