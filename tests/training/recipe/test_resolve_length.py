"""How long a run is: in epochs, or in steps whatever the data; and a warm-up in steps."""

import dataclasses
import json

import pytest
import torch
from tests.training.same_run import assert_same_run
from tests.training.small_runs import TINY, write_photos

from allmlp import ConfigError, train
from allmlp.training import ScheduleConfig, stored_run
from allmlp.training.step.state import TrainState

IN_STEPS = dataclasses.replace(TINY, num_epochs=0, num_steps=6)  # of 16 photos, of 39: two epochs and a half


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    return write_photos(tmp_path_factory.mktemp("photos"))


@pytest.fixture(scope="module")
def run(photos, tmp_path_factory):
    return train(IN_STEPS, photos, tmp_path_factory.mktemp("runs") / "run")


def test_steps_decide_the_epochs(run):
    assert run.recipe.num_epochs == 3
    metrics = json.loads((run.directory / "metrics.json").read_text())
    assert (metrics["num_steps"], metrics["num_epochs"]) == (6, 3)
    lines = (run.directory / "results.csv").read_text().splitlines()[1:]
    assert [line.split(",")[:2] for line in lines] == [["1", "3"], ["2", "5"], ["3", "6"]]
    assert "tiny: 6 steps (3 epochs)" in (run.directory / "log.txt").read_text()


def test_a_run_in_steps_goes_on_bit_for_bit(run, photos, tmp_path):
    class Stop:
        def message(self, text): ...
        def start(self, total_steps):
            assert total_steps == 6

        def step(self, step, **_):
            if step == 4:
                raise KeyboardInterrupt

        def epoch(self, row): ...
        def finish(self): ...

    with pytest.raises(KeyboardInterrupt):
        train(IN_STEPS, photos, tmp_path / "run", progress=Stop())
    again = train(IN_STEPS, photos, tmp_path / "run", resume=True)
    assert_same_run(again.directory, run.directory)


def test_the_recipe_as_it_was_resolved_and_as_it_was_given_are_the_runs(run, photos):
    stored = stored_run(run.directory)
    for recipe in (IN_STEPS, stored.recipe):
        assert train(recipe, photos, run.directory, resume=True).sample_digest == run.sample_digest
    with pytest.raises(ConfigError, match="num_steps: the run has 6, now 7"):
        train(dataclasses.replace(IN_STEPS, num_steps=7), photos, run.directory, resume=True)


def test_epochs_and_steps_that_differ_are_refused(photos, tmp_path):
    with pytest.raises(ConfigError, match=r"num_epochs is 5 and num_steps is 6: only one of them .* num_steps=none"):
        train(dataclasses.replace(IN_STEPS, num_epochs=5), photos, tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_epochs": 0}, "num_epochs is 0; expected at least 1"),
        ({"num_epochs": 0, "num_steps": 0}, "num_steps is 0; expected at least 1"),
        (
            {"num_epochs": 0, "num_steps": 5, "max_minutes": 2.0},
            "num_steps is 5, but with max_minutes=2 the number of steps",
        ),
        (
            {"schedule": ScheduleConfig(warmup_steps=5), "max_minutes": 2.0},
            "warmup_steps is 5, but with max_minutes=2 the number of steps",
        ),
    ],
)
def test_lengths_that_cannot_be_are_refused(changes, message):
    with pytest.raises(ConfigError, match=message):
        dataclasses.replace(TINY, **changes)


def test_a_warm_up_as_long_as_the_run_is_refused(photos, tmp_path):
    for warmup_steps in (7, 10_000):
        recipe = dataclasses.replace(TINY, schedule=ScheduleConfig(warmup_steps=warmup_steps))
        with pytest.raises(ConfigError, match=r"on this data the run has 7 steps.*schedule\.warmup_steps=none"):
            train(recipe, photos, tmp_path / "run")
    recipe = dataclasses.replace(TINY, schedule=ScheduleConfig(warmup_steps=6))
    result = train(recipe, photos, tmp_path / "run")
    first_epoch = (result.directory / "results.csv").read_text().splitlines()[1].split(",")
    assert (first_epoch[1], first_epoch[3]) == ("3", "0.01")  # half way up to 0.02


def test_the_classifiers_biases_start_where_the_recipe_says():
    tiny = dataclasses.replace(TINY, model=TINY.model.with_num_classes(3))
    drawn = TrainState(tiny).model
    shifted = TrainState(dataclasses.replace(tiny, head_bias=-6.9)).model
    assert torch.equal(shifted.head.bias, torch.full_like(shifted.head.bias, -6.9))
    for name, value in drawn.state_dict().items():
        if name != "head.bias":
            assert torch.equal(value, shifted.state_dict()[name]), name
