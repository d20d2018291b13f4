"""What can happen to one process of several: faults other than those of `faulty_places` and `faulty_values`."""

import dataclasses
import os
import time
import types
from typing import Any

import torch
from tests.reliability.faulty import Act, wrap
from tests.reliability.faulty_ranks import marker, wait_until

from allmlp.errors import DataError
from allmlp.training import input_pipeline as feed
from allmlp.training import loop
from allmlp.training import setup as setup
from allmlp.training.distributed import consistency as agreement
from allmlp.training.session import Session
from allmlp.training.step import update as step_module
from allmlp.training.step.state import TrainState


def begun_step(step: int, act: Act) -> None:
    """Before a step's first computation; the other processes are in it."""
    _in_update(step, act)


def bug(step: int, _act: Act) -> None:
    """An exception that is nobody's fault but ours."""

    def fail() -> None:
        raise ValueError("something that nobody thought of")

    _in_update(step, fail)


def gone_photo(step: int, _act: Act) -> None:
    """A photo that was there at the start cannot be read: an error that names it."""

    def augmented(original: Any, self: Any, raw: Any, places: Any, place: int, *arguments: Any) -> Any:
        if place + 1 == step:
            raise DataError("photos/train/red/03.png: this photo has gone.")
        return original(self, raw, places, place, *arguments)

    wrap(feed.InputPipeline, "_augmented", augmented)


def bug_before_the_loop(_step: int, _act: Act) -> None:
    def check_photos(original: Any, *arguments: Any, **named: Any) -> None:
        raise ValueError("something that nobody thought of")

    wrap(feed, "check_photos", check_photos)


def bug_in_evaluation(step: int, _act: Act) -> None:
    def validate(original: Any, self: Any, state: Any, *arguments: Any, **named: Any) -> None:
        if state.step >= step:
            raise ValueError("something that nobody thought of")
        original(self, state, *arguments, **named)

    wrap(Session, "validate", validate)


def another_version(_step: int, _act: Act) -> None:
    agreement.numpy = types.SimpleNamespace(__version__="2.0.1")  # type: ignore[assignment]


def another_setting(_step: int, _act: Act) -> None:
    def check_inputs(original: Any, recipe: Any, *arguments: Any, **named: Any) -> Any:
        return original(dataclasses.replace(recipe, ema_decay=0.5), *arguments, **named)

    wrap(setup, "_check_inputs", check_inputs)


def other_photos(_step: int, _act: Act) -> None:
    def open_dataset(original: Any, *arguments: Any) -> Any:
        dataset = original(*arguments)
        fewer = dataset.splits["train"].subset(range(1, len(dataset.splits["train"])))
        return dataclasses.replace(dataset, splits={**dataset.splits, "train": fewer})

    wrap(setup, "open_dataset", open_dataset)


def gradient_of_the_loss(step: int, _act: Act) -> None:
    """What one process brings into the average of gradients; its loss is a number."""

    class Spoil(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, value: Any) -> Any:
            return value.clone()

        @staticmethod
        def backward(ctx: Any, gradient: Any) -> Any:
            return gradient * float("nan")

    calls = []

    def classification_loss(original: Any, logits: Any, *arguments: Any, **named: Any) -> Any:
        calls.append(None)
        return original(Spoil.apply(logits) if len(calls) == step else logits, *arguments, **named)

    wrap(step_module, "classification_loss", classification_loss)


def after_agreeing(step: int, act: Act) -> None:
    """Right after all have asked each other for signals: the others know nothing of this one before they ask again."""

    def agree(original: Any, self: Any, *arguments: Any) -> Any:
        agreed = original(self, *arguments)
        if steps and steps[-1] == step:
            act()
        return agreed

    steps: list[int] = []

    def add_step(original: Any, *arguments: Any) -> None:
        original(*arguments)
        steps.append(len(steps) + 1)

    wrap(loop.TrainingHistory, "add_step", add_step)
    wrap(Session, "agree", agree)


def held_save(step: int, _act: Act) -> None:
    """The thread that writes stands between two files of a save until another process has died."""
    from allmlp.io import atomic_write as files

    def create(original: Any, path: Any, *arguments: Any) -> Any:
        if path.name == "state.json" and path.parent.name.startswith(f".step-{step:09}."):
            marker("saving").touch()
            wait_until(marker("dying").exists)
            wait_until(lambda: not _is_there(int(marker("dying").read_text() or 0)))
        return original(path, *arguments)

    wrap(files, "_create", create)


def during_anothers_save(step: int, act: Act) -> None:
    """While the first process is held in its save, this one, one step on, dies."""

    def die() -> None:
        wait_until(marker("saving").exists)
        marker("dying").write_text(str(os.getpid()))
        act()

    _in_update(step + 1, die)


def slow_steps(_step: int, _act: Act) -> None:
    """Steps take a tenth of a second, so that whoever watches from outside meets a run that is under way."""

    def update(original: Any, *arguments: Any, **options: Any) -> Any:
        time.sleep(0.1)
        return original(*arguments, **options)

    wrap(loop, "update", update)


def whole_batch(_step: int, _act: Act) -> None:
    """Every process makes the whole batch. A negative control: losses and digest cannot tell."""
    from allmlp.training.distributed.process_group import ProcessGroup

    wrap(ProcessGroup, "part", lambda original, self, size: slice(0, size))


def same_part(_step: int, _act: Act) -> None:
    """Every process makes the first one's part of the batch. A negative control."""
    from allmlp.training.distributed.process_group import ProcessGroup

    wrap(ProcessGroup, "part", lambda original, self, size: slice(0, size // self.count))


def flipped_weight(step: int, _act: Act) -> None:
    """A NaN in the weights of this process alone, after a step whose values were finite."""

    def step_optimizer(original: Any, self: TrainState, *arguments: Any) -> None:
        original(self, *arguments)
        if self.step == step:
            with torch.no_grad():
                weights = next(self.model.parameters())
                (weights.to_local() if hasattr(weights, "to_local") else weights).view(-1)[0] = float("nan")

    wrap(TrainState, "step_optimizer", step_optimizer)


def _in_update(step: int, act: Any) -> None:
    def update(original: Any, state: Any, *arguments: Any, **options: Any) -> Any:
        if state.step + 1 == step:
            act()
        return original(state, *arguments, **options)

    wrap(loop, "update", update)


def _is_there(pid: int) -> bool:
    """Whether a process lives; one that its parent has not buried yet does not."""
    import psutil

    try:
        return pid == 0 or psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


PLACES = {
    "before a step": begun_step,
    "a bug in a step": bug,
    "a photo has gone": gone_photo,
    "a bug before the loop": bug_before_the_loop,
    "a bug in evaluation": bug_in_evaluation,
    "another version": another_version,
    "another setting": another_setting,
    "other photos": other_photos,
    "gradient of the loss": gradient_of_the_loss,
    "weight of one process": flipped_weight,
    "after agreeing": after_agreeing,
    "held save": held_save,
    "during another's save": during_anothers_save,
    "slow steps": slow_steps,
    "whole batch on every process": whole_batch,
    "same part on every process": same_part,
}
