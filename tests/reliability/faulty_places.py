"""Where a signal may meet a run: each function arranges that `act` is called at its place of a step."""

import functools
from pathlib import Path
from typing import Any

from tests.reliability.faulty import PATIENCE, Act, held, wrap

from allmlp.io import atomic_write as files
from allmlp.training import ConsoleProgress, finish, session
from allmlp.training import input_pipeline as feed
from allmlp.training.session import Session
from allmlp.training.snapshots import store as saves_module
from allmlp.training.step import state


def reading(_step: int, act: Act) -> None:
    """Before the run has a folder: photos are being read."""

    def check_photos(original: Any, *arguments: Any, **named: Any) -> None:
        act()
        original(*arguments, **named)

    wrap(feed, "check_photos", check_photos)


def beginning(_step: int, act: Act) -> None:
    """Everything is ready for step 1."""

    def start(original: Any, *arguments: Any) -> None:
        act()
        original(*arguments)

    wrap(ConsoleProgress, "start", start)


def in_step(step: int, act: Act) -> None:
    """The weights have changed, their average has not, and the step is not counted. What was to be saved is on the disk."""

    def step_optimizer(original: Any, self: Any, *arguments: Any) -> None:
        change = self.optimizer.step

        def change_and_act(*arguments: Any) -> None:
            change(*arguments)
            act()

        self.optimizer.step = change_and_act if self.step + 1 == step else change
        original(self, *arguments)
        self.optimizer.step = change

    wrap(state.TrainState, "step_optimizer", step_optimizer)
    _save_at_once()


def in_evaluation(step: int, act: Act) -> None:
    """The first of two batches is scored, with the averaged weights in place of the trained ones."""

    def validate(original: Any, of: Any, *arguments: Any, **named: Any) -> Any:
        hook = of.model.register_forward_hook(lambda *_: act() if of.step == step else None)
        try:
            return original(of, *arguments, **named)
        finally:
            hook.remove()

    wrap(session, "validate", validate)
    _save_at_once()


def in_writing(step: int, act: Act, *, function: str, chosen: Any, before: bool = True) -> None:
    """In the thread that writes, before or after one operation on files."""

    def around(original: Any, *paths: Any) -> Any:
        is_chosen = chosen(step, *paths)
        if is_chosen and before:
            act()
        result = original(*paths)
        if is_chosen and not before:
            act()
        return result

    wrap(files, function, around)


def during_save(step: int, act: Act) -> None:
    """In the main thread, while another stands between two files of the save."""
    reached, go_on = held(files, "_create", functools.partial(_is_second_file, step))

    def write(original: Any, self: Any, saved_step: int, *arguments: Any) -> None:
        original(self, saved_step, *arguments)
        if saved_step == step and not go_on.is_set():
            assert reached.wait(PATIENCE)
            act()
            go_on.set()

    wrap(saves_module.SnapshotStore, "write", write)


def scoring(_step: int, act: Act) -> None:
    """After the last step, as the best checkpoint is scored."""

    def score_splits(original: Any, *arguments: Any, **named: Any) -> Any:
        act()
        return original(*arguments, **named)

    wrap(finish, "score_splits", score_splits)


def _save_at_once() -> None:
    """Let saving end before the next step begins, so that a kill always finds the same saves on the disk."""

    def save(original: Any, self: Session, *arguments: Any) -> None:
        original(self, *arguments)
        self.wait_for_saves()

    wrap(Session, "save", save)


def _is_second_file(step: int, path: Path) -> bool:
    return path.name == "state.json" and path.parent.name.startswith(f".step-{step:09}.")


def _is_new_save(step: int, _old: Path, new: Path) -> bool:
    return new.name == f"step-{step:09}"


def _is_retired(step: int, path: Path) -> bool:
    return path.parent.name.startswith(f".step-{step:09}.") and path.parent.name.endswith(".gone")


def _is_last_checkpoint(_step: int, _old: Path, new: Path) -> bool:
    return new.name == "model.safetensors" and new.parent.name == "last"  # config.json is still the one before


def _is_named(name: str, _step: int, _old: Path, new: Path) -> bool:
    return new.name == name


def _naming(name: str) -> Any:
    return functools.partial(in_writing, function="_rename", chosen=functools.partial(_is_named, name))


_between_files = functools.partial(in_writing, function="_create", chosen=_is_second_file)
_before_name = functools.partial(in_writing, function="_rename", chosen=_is_new_save)
_after_name = functools.partial(in_writing, function="_rename", chosen=_is_new_save, before=False)
_retiring = functools.partial(in_writing, function="_unlink", chosen=_is_retired, before=False)
_checkpoint = functools.partial(in_writing, function="_rename", chosen=_is_last_checkpoint, before=False)

PLACES = {
    "reading": reading,
    "beginning": beginning,
    "in step": in_step,
    "in evaluation": in_evaluation,
    "between two files of a save": _between_files,
    "before a save has its name": _before_name,
    "after a save has its name": _after_name,
    "as an old save is deleted": _retiring,
    "between two files of a checkpoint": _checkpoint,
    "during a save": during_save,
    "scoring": scoring,
    "as the run is described": _naming("split.json"),
    "before the recipe is written": _naming("recipe.json"),
    "as the report is written": _naming("report.html"),
}
