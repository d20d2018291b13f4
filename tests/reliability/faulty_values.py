"""Wrong values in a run: NaN where numbers should be, and resumes that forget."""

import math
from typing import Any

from tests.reliability.faulty import Act, wrap

from allmlp.training import input_pipeline as feed
from allmlp.training import loop
from allmlp.training.snapshots.history import TrainingHistory
from allmlp.training.step import optimizer, state
from allmlp.training.step import update as step_module


def loss(step: int, _act: Act) -> None:
    calls = []

    def classification_loss(original: Any, *arguments: Any, **options: Any) -> Any:
        calls.append(None)
        return original(*arguments, **options) * (math.nan if len(calls) == step else 1.0)

    wrap(step_module, "classification_loss", classification_loss)


def gradient(step: int, _act: Act) -> None:
    calls = []

    def gradient_norm(original: Any, self: Any) -> float:
        calls.append(None)
        if len(calls) == step:
            _spoil(self._gradients()[0])
        return original(self)

    wrap(optimizer.Optimizer, "gradient_norm", gradient_norm)


def image(step: int, _act: Act) -> None:
    def augmented(original: Any, self: Any, raw: Any, places: Any, place: int, *arguments: Any) -> Any:
        batch = original(self, raw, places, place, *arguments)
        if place + 1 == step:
            _spoil(batch.images)
        return batch

    wrap(feed.InputPipeline, "_augmented", augmented)


def weight(step: int, _act: Act) -> None:
    """Before the step: as a bit that flips in memory."""

    def update(original: Any, of: Any, *arguments: Any, **options: Any) -> float:
        if of.step + 1 == step:
            _spoil(next(of.model.parameters()).data)
        return original(of, *arguments, **options)

    wrap(loop, "update", update)


def updated_weight(step: int, _act: Act) -> None:
    """By the step itself, whose loss and gradient were finite."""
    _after_step(step, lambda of: _spoil(next(of.model.parameters()).data))


def average(step: int, _act: Act) -> None:
    _after_step(step, lambda of: _spoil(of.average[0]))


def memory(step: int, _act: Act) -> None:
    """What the optimizer remembers."""
    _after_step(step, lambda of: _spoil(max(of.optimizer.tensors().items())[1]))


def forgotten_position(_step: int, _act: Act) -> None:
    """A resume that takes over everything but the step: it begins one step early. A negative control."""

    def load(original: Any, self: Any, tensors: Any, *, step: int, where: str) -> None:
        original(self, tensors, step=step - 1, where=where)

    wrap(state.TrainState, "load", load)


def forgotten_everything(_step: int, _act: Act) -> None:
    """A resume that says where it goes on and starts over from step 0. A negative control."""
    wrap(state.TrainState, "load", lambda *arguments, **named: None)
    wrap(TrainingHistory, "from_metadata", lambda *arguments, **named: TrainingHistory())


def _after_step(step: int, spoil: Any) -> None:
    def step_optimizer(original: Any, self: Any, *arguments: Any) -> None:
        original(self, *arguments)
        if self.step == step:
            spoil(self)

    wrap(state.TrainState, "step_optimizer", step_optimizer)


def _spoil(tensor: Any) -> None:
    tensor.view(-1)[0] = math.nan


PLACES = {
    "loss": loss,
    "gradient": gradient,
    "image": image,
    "weight": weight,
    "updated weight": updated_weight,
    "average": average,
    "optimizer state": memory,
    "resume without the step": forgotten_position,
    "resume without the state": forgotten_everything,
}
