"""The estimated minutes of the studies: multiply-adds of training at a measured rate."""

import json
import statistics
from collections.abc import Callable, Mapping

import pytest
from tests.forks import ROOT

from allmlp.checkpoints import STARTER, load_checkpoint
from allmlp.model import MixerConfig, MlpMixer, cost
from allmlp.recipes import load_recipe
from allmlp.studies import STUDIES, Arm, Study, StudyOptions, load_study
from allmlp.studies.learning.networks import make_network, multiply_adds
from allmlp.studies.paper import cifar_stages, regularisation, resolution, scale
from allmlp.studies.study import ESTIMATED_RATE
from allmlp.studies.tasks.task import AVG_5, VTAB_1K, Task

_PASSES = 3  # the backward pass costs twice the forward pass


def test_the_rate_is_that_of_a_measured_study() -> None:
    """Twice the multiply-adds per core and second of study permutations, by the processor time of its trainings."""
    result = json.loads((ROOT / "experiments" / "studies" / "results" / "permutations.json").read_text())
    rates = [
        _PASSES * arm["figures"]["multiply_adds"] * _photos(arm["settings"]["schedule"]) / arm["figures"]["core_hours"]
        for arm in result["arms"]
    ]
    assert 2 * statistics.median(rates) / 3600 == pytest.approx(ESTIMATED_RATE, rel=0.1)


def _photos(schedule: Mapping[str, float]) -> float:
    return schedule["num_steps"] * schedule["batch_size"]


def _of_network(arm: Arm, size: int = 32) -> float:
    network = make_network(
        arm.settings["kind"], seed=0, image_size=(size, size), num_classes=10, widths=arm.settings["widths"]
    )
    return multiply_adds(network, (size, size))


def _of_schedule(arm: Arm) -> float:
    return _of_network(arm) * _photos(arm.settings["schedule"])


def _of_scale(arm: Arm) -> float:
    return (
        0.0 if arm.name == scale.RATES else _of_network(arm, arm.settings["size"]) * _photos(arm.settings["schedule"])
    )


def _of_transfer(arm: Arm) -> float:
    settings = arm.settings
    photos = _photos(settings["pretraining"]) + len(settings["learning_rates"]) * _photos(settings["fine_tuning"])
    return _of_network(arm) * photos


def _of_resolution(arm: Arm) -> float:
    """Pre-training and fine-tuning, and from scratch at the same cost in all."""
    settings = arm.settings
    low = MlpMixer(MixerConfig(image_size=resolution.LOW, num_classes=10, **settings["widths"]))
    high = resolution.raised(low, settings["method"])
    return _adds(low.config) * _photos(settings["pretraining"]) + _adds(high.config) * _photos(settings["finetuning"])


def _of_regularisation(arm: Arm) -> float:
    recipe = regularisation.recipe(arm.settings, 0)
    return _adds(recipe.model.with_num_classes(10)) * recipe.batch_size * (recipe.num_steps or 0)


def _of_cifar_record(arm: Arm) -> float:
    return sum(
        cifar_stages.multiply_adds(recipe.model) * recipe.batch_size * (recipe.num_steps or 0)
        for recipe in cifar_stages.stages(arm.settings, 0)
    )


def _adds(config: MixerConfig) -> int:
    return sum(part.multiply_adds for part in cost(config))


_COSTS: Mapping[str, Callable[[Arm], float]] = {
    "data_size": _of_schedule,
    "scale": _of_scale,
    "permutations": _of_schedule,
    "token_mixing": _of_schedule,
    "resolution": _of_resolution,
    "regularisation": _of_regularisation,
    "cifar_record": _of_cifar_record,
    "transfer": _of_transfer,
}


@pytest.mark.parametrize("name", _COSTS)
def test_the_minutes_follow_from_the_multiply_adds(name: str) -> None:
    pytest.importorskip("timm")
    arms = load_study(name).arms(StudyOptions())
    _check(load_study(name), sum(map(_COSTS[name], arms)))


@pytest.mark.parametrize(("name", "tasks"), [("avg5", AVG_5), ("vtab1k", VTAB_1K)])
def test_the_minutes_of_all_tasks_follow_from_their_steps(name: str, tasks: Mapping[str, Task]) -> None:
    photos = (
        sum(
            (len(task.learning_rates) + 1) * task.num_steps * (4 if task.has_large_images else 1)
            for task in tasks.values()
        )
        * load_recipe("finetune_paper").batch_size
    )
    _check(load_study(name), photos * _adds(load_checkpoint(STARTER).config))


def _check(study: Study, forward: float) -> None:
    """Compare with the training; the photos that are scored in the meantime are a few percent more."""
    assert study.minutes == pytest.approx(_PASSES * forward / ESTIMATED_RATE / 60, rel=0.25)


@pytest.mark.parametrize("name", STUDIES)
def test_every_study_says_how_long_it_takes(name: str) -> None:
    study = load_study(name)
    assert study.minutes is not None
    words = {"weights": "under a minute", "transfer": "about 16 min", "cifar_record": "about 33 h"}
    assert study.time_needed == words.get(name, study.time_needed) != ""
