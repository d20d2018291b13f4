"""The study of table 4's regularisation: its recipe is the paper's, its photos are few, its sentence follows from figures."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.studies.contexts import SmallContext

from allmlp import open_dataset
from allmlp.errors import DataError
from allmlp.recipes import load_recipe
from allmlp.studies.drawing import to_png
from allmlp.studies.paper.regularisation import ALL, NONE, PARTS, STUDY, few_photos, recipe
from allmlp.studies.study import Arm, ArmResult, StudyOptions


def _arms(**options: int) -> dict[str, Arm]:
    return {arm.name: arm for arm in STUDY.arms(StudyOptions(**{"num_seeds": 1, **options}))}


def test_all_of_table_4_is_the_regularisation_of_the_papers_recipe() -> None:
    ours, papers = recipe(_arms()[ALL].settings, 0), load_recipe("imagenet_b16")
    for name in ("rand_augment_layers", "rand_augment_magnitude", "mixup", "mix_probability", "cutmix", "flip"):
        assert getattr(ours.augmentation, name) == getattr(papers.augmentation, name), name
    for name in ("stochastic_depth", "dropout"):
        assert getattr(ours.model, name) == getattr(papers.model, name), name
    assert ours.optimizer == papers.optimizer
    assert ours.schedule.decay == papers.schedule.decay
    assert ours.loss == papers.loss


def test_each_arm_takes_one_part_away() -> None:
    arms = _arms()
    whole = dict(arms[ALL].settings)
    for part, setting in PARTS.items():
        assert arms[f"without {part}"].settings == {**whole, setting: 0.0}
    assert arms[NONE].settings == {**whole, **dict.fromkeys(PARTS.values(), 0.0)}
    plain = recipe(arms[NONE].settings, 0)
    assert (plain.augmentation.rand_augment_layers, plain.augmentation.mixup, plain.model.stochastic_depth) == (0, 0, 0)
    assert plain.augmentation.flip


def test_few_photos_are_a_share_of_each_class_and_differ_by_seed() -> None:
    dataset = open_dataset("clothing")
    chosen = few_photos(dataset, share=0.1, seed=0)
    train, validation = chosen.splits["train"], chosen.splits["validation"]
    sizes = np.bincount(dataset.splits["train"].labels)
    assert np.bincount(train.labels).tolist() == [max(1, round(0.1 * size)) for size in sizes]
    assert not set(train.sample_ids) & set(validation.sample_ids)
    assert set(validation.labels) == set(train.labels)
    assert chosen.splits["test"] is dataset.splits["test"]
    again, other = (few_photos(dataset, share=0.1, seed=seed).splits["train"].sample_ids for seed in (0, 1))
    assert train.sample_ids == again != other


def test_photos_of_which_none_is_left_for_validation_are_refused() -> None:
    dataset = open_dataset("clothing")
    labels = dataset.splits["train"].labels
    first = [int(np.flatnonzero(labels == label)[0]) for label in np.unique(labels)]
    few = dataclasses.replace(dataset, splits={**dataset.splits, "train": dataset.splits["train"].subset(first)})
    with pytest.raises(DataError, match="no class has more than one training photo"):
        few_photos(few, share=0.1, seed=0)


def test_an_arm_is_trained_by_allmlp_and_not_repeated(tmp_path: Path) -> None:
    arm = _arms(num_steps=2)[ALL]
    clothing = open_dataset("clothing")
    splits = {
        "train": clothing.splits["train"].subset(range(0, 900, 3)),
        "test": clothing.splits["test"].subset(range(20)),
    }
    context = SmallContext(tmp_path, dataclasses.replace(clothing, splits=splits))
    figures = STUDY.run(arm, context)
    assert json.loads(json.dumps(figures)) == figures
    assert 0 <= figures["top1"] <= 1
    assert 0 <= figures["train_top1"] <= 1
    assert context.lines
    log = (tmp_path / "run" / "log.txt").read_text()
    again = STUDY.run(arm, context)
    rate = "images_per_second"  # computed anew from rounded seconds
    assert {**again, rate: 0} == {**figures, rate: 0}
    assert again[rate] == pytest.approx(figures[rate], rel=0.01)
    assert (tmp_path / "run" / "log.txt").read_text().startswith(log)


def _results(changes: dict[str, float], *, num_seeds: int = 2, noise: float = 0.001) -> list[ArmResult]:
    """Return results that are these shares above 60 %; the seeds change all but the first arm by `noise`."""

    def figures(arm: Arm) -> dict[str, Any]:
        top1 = 0.6 + changes.get(arm.name, 0.0) + (noise * arm.seed if arm.name != ALL else 0.0)
        facts = {"train_top1": 0.9, "num_epochs": 60.0, "images_per_second": 1500.0, "num_photos": 5000}
        return {**facts, "top1": top1}

    return [ArmResult(arm, figures(arm)) for arm in STUDY.arms(StudyOptions(num_seeds=num_seeds))]


@pytest.mark.parametrize(
    ("change", "options", "verdict"),
    [
        (-0.05, {}, "Agrees with the paper"),
        (-0.05, {"num_seeds": 1}, "Points the same way"),
        (-0.05, {"noise": 0.09}, "Points the same way"),  # within the noise
        (-0.05, {"noise": 0.03}, "Points the same way"),  # two seeds that differ: 5 and 2 points
        (0.01, {}, "Does not agree"),
        (0.01, {"num_seeds": 1}, "Points the other way"),
        (0.01, {"noise": 0.03}, "Points the other way"),  # two seeds that differ: 1 and 4 points
    ],
)
def test_the_sentence_follows_from_the_figures(change: float, options: dict[str, Any], verdict: str) -> None:
    sentence = STUDY.agreement(_results({NONE: change, "without mixup": -0.02}, **options))
    assert sentence.startswith(verdict)
    assert f"({options.get('num_seeds', 2)} seed" in sentence


def test_table_and_plot() -> None:
    results = _results({NONE: -0.05})
    table = STUDY.table(results)
    assert [row[0] for row in table.rows] == list(_arms())
    assert {len(row) for row in table.rows} == {len(table.columns)}
    assert [NONE, "90.0 ± 0.0", "55.0 ± 0.1", "-5.0 ± 0.1", "60", "1,500", "2"] in [list(row) for row in table.rows]
    assert STUDY.figure is not None
    assert to_png(STUDY.figure(results)).startswith(b"\x89PNG")


def test_settings_are_json() -> None:
    for arm in _arms(num_steps=5).values():
        assert json.loads(json.dumps(dict(arm.settings))) == dict(arm.settings)
