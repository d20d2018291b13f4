"""Table 1: parameters and GFLOPs against published counts, measured rates, and the sentence that follows from the figures."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.builders import GOLDEN
from tests.studies.contexts import BrightAndDark

from allmlp.studies.drawing import to_png
from allmlp.studies.paper import table1
from allmlp.studies.paper.table1 import GROUPS, PAPER_PARAMETERS, STUDY, counts
from allmlp.studies.study import Arm, ArmResult, StudyOptions

# Parameters without the classifier, and billions of multiply-adds: torchvision's documentation of its weights, which calls the
# latter GFLOPS; ViT-S/16 as DeiT-S in Touvron et al. 2021.
PUBLISHED = {
    "resnet18": (11_176_512, 1.81),
    "resnet50": (23_508_032, 4.09),
    "resnet152": (58_143_808, 11.51),
    "vit_small_patch16_224": (21_665_664, 4.6),
    "vit_base_patch16_224": (85_798_656, 17.56),
}


@pytest.mark.parametrize("variant", PAPER_PARAMETERS)
def test_mixers_have_the_authors_number_of_parameters(variant: str) -> None:
    expected = json.loads((GOLDEN / "variants_expected.json").read_text())[variant]
    found = counts(variant)["parameters"]
    assert found == expected["parameters_without_head"]
    assert abs(found / 1e6 - PAPER_PARAMETERS[variant]) < 1


@pytest.mark.parametrize("name", PUBLISHED)
def test_other_networks_have_their_published_cost(name: str) -> None:
    parameters, billions = PUBLISHED[name]
    found = counts(name)
    assert found["parameters"] == parameters
    assert found["multiply_adds"] / 1e9 == pytest.approx(billions, rel=0.01)  # as published, with two to four digits


def test_small_networks_are_measured(tmp_path: Path) -> None:
    networks = {"Mixer-S/32": "S/32", "ViT-S/32": "vit_small_patch32_224"}
    arm = Arm("small", {"networks": networks, "batch_size": 1, "num_rounds": 2})
    context = BrightAndDark(tmp_path)
    figures = STUDY.run(arm, context)
    for name in networks:
        inference, training = (figures["networks"][name][measure] for measure in ("inference", "training"))
        assert len(inference["rounds"]) == len(training["rounds"]) == 2
        assert inference["images_per_core_second"] > training["images_per_core_second"]
    assert json.loads(json.dumps(dict(figures))) == dict(figures)
    assert context.reports == [f"  {measure}: Mixer-S/32, ViT-S/32 take turns" for measure in ("inference", "training")]


def _results(
    mixer: dict[str, float], *, wrong: str | None = None, measured: bool = True, num_rounds: int = 3
) -> list[ArmResult]:
    """Return results in which Mixers take so many milliseconds, 10 by default, and other networks 15."""
    results = []
    for arm in STUDY.arms(StudyOptions()):
        networks = {}
        for name in arm.settings["networks"]:
            family, _, variant = name.partition("-")
            millions = PAPER_PARAMETERS[variant] if family == "Mixer" else 50
            rate = _rate(mixer.get(variant, 10.0) if family == "Mixer" else 15.0, num_rounds) if measured else None
            networks[name] = {
                "parameters": round(1e6 * (millions + 2 * (wrong == variant))),
                "multiply_adds": 10**9,
                "inference": rate,
                "training": None if arm.name == "huge" else rate,
            }
        results.append(ArmResult(arm, {"networks": networks}))
    return results


def _rate(milliseconds: float, num_rounds: int = 3) -> dict[str, Any]:
    rates = {"images_per_second": 8000 / milliseconds, "images_per_core_second": 4000 / milliseconds}
    return {**rates, "rounds": [milliseconds, 1.5 * milliseconds, milliseconds][:num_rounds]}


@pytest.mark.parametrize(
    ("results", "verdict"),
    [
        (_results({}), "Agrees with the paper: 7 of 7 counts"),
        (_results({"S/16": 16.0}), "Points the same way: 7 of 7 counts"),
        (_results(dict.fromkeys(PAPER_PARAMETERS, 16.0)), "Does not agree: 7 of 7 counts"),
        (_results({}, wrong="B/16"), "Does not agree: 6 of 7 counts"),
        (_results({}, measured=False), "Points the same way: 7 of 7 counts"),
        (_results({}, num_rounds=2), "Points the same way: 7 of 7 counts"),
        (_results(dict.fromkeys(PAPER_PARAMETERS, 16.0), num_rounds=2), "Points the other way: 7 of 7 counts"),
    ],
    ids=["faster", "one is slower", "all are slower", "a wrong count", "not measured", "few rounds", "few and slower"],
)
def test_the_sentence_follows_from_the_figures(results: list[ArmResult], verdict: str) -> None:
    assert STUDY.agreement(results).startswith(verdict)


def test_the_sentence_states_ratios_and_the_papers() -> None:
    sentence = STUDY.agreement(_results({"S/16": 16.0}))
    assert "6 of 7 Mixers are faster" in sentence
    assert "S/16 0.94" in sentence
    assert "B/16 1.61, L/16 1.50, H/14 2.23" in sentence  # 1384/861, 419/280 and 194/87 of table 3
    assert "n = 3 rounds" in sentence


def test_table_and_plot() -> None:
    results = _results({})
    table = STUDY.table(results)
    assert len(table.rows) == sum(len(networks) for networks in GROUPS.values())
    assert {len(row) for row in table.rows} == {len(table.columns)}
    # 8 images in 10 ms; 400 images per core and second are 2,500 core-seconds per million.
    assert ["Mixer-B/16", "59.00", "59", "2.00", "800", "1,384", "800", "0.7"] in [list(row) for row in table.rows]
    assert ["ViT-H/14", "50.00", "", "2.00", "533", "87", "-", "-"] in [list(row) for row in table.rows]
    assert STUDY.figure is not None
    assert to_png(STUDY.figure(results)).startswith(b"\x89PNG")
    assert to_png(STUDY.figure(_results({}, measured=False))).startswith(b"\x89PNG")


def test_a_gpu_has_larger_batches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The GPU is not there: its measurement is replaced by one that runs out of memory above four images."""
    tried = []

    def rates(calls: Mapping[str, Any], *, batch_size: int, **options: Any) -> dict[str, Any]:
        tried.append(batch_size)
        if batch_size > 4:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return {name: {"images_per_second": 1.0, "batch_size": batch_size} for name in calls}

    monkeypatch.setattr(table1, "measured_rates", rates)
    monkeypatch.setattr(table1, "inference_call", lambda *_arguments, **_options: None)
    monkeypatch.setattr(table1, "training_call", lambda *_arguments, **_options: None)
    settings = {"networks": {"Mixer-S/32": "S/32"}, "batch_size": 2, "gpu_batch_size": 16, "num_rounds": 1}
    figures = STUDY.run(Arm("small", settings), BrightAndDark(tmp_path, device="cuda"))
    assert tried == [16, 8, 4] * 2
    assert figures["networks"]["Mixer-S/32"]["training"]["batch_size"] == 4
    assert all(arm.settings["gpu_batch_size"] > arm.settings["batch_size"] for arm in STUDY.arms(StudyOptions()))


def test_repetitions_are_averaged() -> None:
    first, second = _results({}), _results({"B/16": 30.0})
    (row,) = [row for row in STUDY.table([*first, *second]).rows if row[0] == "Mixer-B/16"]
    assert row[4] == f"{(8000 / 10 + 8000 / 30) / 2:.0f}"


def test_settings_are_json_and_a_step_is_a_round() -> None:
    arms = STUDY.arms(StudyOptions(num_steps=2))
    assert {arm.settings["num_rounds"] for arm in arms} == {2}
    for arm in arms:
        assert json.loads(json.dumps(dict(arm.settings))) == dict(arm.settings)
