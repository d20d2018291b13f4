"""A run that was stopped goes on as if it had not been: weights, optimizer, average and samples, bit for bit."""

import dataclasses
import json
import os
import shutil
from pathlib import Path
from typing import Literal

import pytest
import torch
from tests.forks import run_allmlp, run_python
from tests.training.same_run import assert_same_run
from tests.training.small_runs import TINY, write_photos

from allmlp import ConfigError, DataError, train
from allmlp.config import override
from allmlp.errors import CheckpointError
from allmlp.training import DataConfig, SavingConfig
from allmlp.training.progress import NoProgress


class StopAt:
    """Raises KeyboardInterrupt after a step, as Ctrl-C does outside of training's own handler."""

    def __init__(self, step: int) -> None:
        self.stop_at = step
        self.messages: list[str] = []

    def message(self, text: str) -> None:
        self.messages.append(text)

    def start(self, total_steps: int) -> None: ...

    def step(self, step: int, **_: float) -> None:
        if step == self.stop_at:
            raise KeyboardInterrupt

    def epoch(self, row: object) -> None: ...

    def finish(self) -> None: ...


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_photos(tmp_path_factory.mktemp("photos"))


@pytest.fixture(scope="module")
def whole(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("whole") / "run"
    train(TINY, photos, path)
    return path


@pytest.fixture(scope="module")
def stopped(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run to copy, that was stopped after step 4 of 7."""
    path = tmp_path_factory.mktemp("stopped") / "run"
    with pytest.raises(KeyboardInterrupt):
        train(TINY, photos, path, progress=StopAt(4))
    return path


@pytest.mark.parametrize("steps", [pytest.param((1,), marks=pytest.mark.slow), (4,), (2, 3, 5)])
def test_a_stopped_run_goes_on_bit_for_bit(steps: tuple[int, ...], photos: Path, whole: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    for step in steps:
        with pytest.raises(KeyboardInterrupt):
            train(TINY, photos, run, progress=StopAt(step), resume=True)
    progress = StopAt(-1)
    train(TINY, photos, run, progress=progress, resume=True)
    assert f"resumed at step {steps[-1]} of 7" in progress.messages
    assert f"resumed at step {steps[-1]} of 7" in (run / "log.txt").read_text()
    assert_same_run(run, whole)


@pytest.mark.parametrize("storage", ["memory", "stream"])
def test_workers_and_storage_may_change_between_sessions(
    storage: Literal["memory", "stream"], photos: Path, whole: Path, stopped: Path, tmp_path: Path
) -> None:
    run = shutil.copytree(stopped, tmp_path / "run")
    other = dataclasses.replace(
        TINY, data=DataConfig(storage=storage, num_workers=2), saving=SavingConfig(every_steps=2)
    )
    train(other, photos, run, resume=True)
    assert_same_run(run, whole)


def test_a_run_with_randaugment_and_erasing_goes_on_bit_for_bit(photos: Path, tmp_path: Path) -> None:
    augmentation = dataclasses.replace(
        TINY.augmentation, rand_augment_layers=2, rand_augment_magnitude=15.0, random_erasing=0.5
    )
    recipe = dataclasses.replace(TINY, augmentation=augmentation)
    train(recipe, photos, tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        train(recipe, photos, tmp_path / "run", progress=StopAt(4))
    streamed = dataclasses.replace(recipe, data=DataConfig(storage="stream", num_workers=1))
    train(streamed, photos, tmp_path / "run", resume=True)
    assert_same_run(tmp_path / "run", tmp_path / "whole")


def test_steps_from_the_last_save_are_taken_again_alike(photos: Path, whole: Path, tmp_path: Path) -> None:
    """A process that is killed saves nothing: the run goes back to the newest save that is there."""
    recipe = dataclasses.replace(TINY, saving=SavingConfig(every_minutes=None, every_steps=2, keep_every=2))
    run = tmp_path / "run"
    with pytest.raises(KeyboardInterrupt):
        train(recipe, photos, run, progress=StopAt(5))
    for step in (4, 5):
        shutil.rmtree(run / "resume" / f"step-{step:09}")
    progress = StopAt(-1)
    train(recipe, photos, run, progress=progress, resume=True)
    assert "resumed at step 2 of 7" in progress.messages
    assert_same_run(run, whole)


def test_a_damaged_save_is_set_aside_and_the_one_before_is_used(photos: Path, whole: Path, tmp_path: Path) -> None:
    recipe = dataclasses.replace(TINY, saving=SavingConfig(every_minutes=None, every_steps=1))
    run = tmp_path / "run"
    with pytest.raises(KeyboardInterrupt):
        train(recipe, photos, run, progress=StopAt(5))
    path = run / "resume" / "step-000000005" / "state.safetensors"
    content = bytearray(path.read_bytes())
    content[-100] ^= 1
    path.write_bytes(content)
    progress = StopAt(-1)
    train(recipe, photos, run, progress=progress, resume=True)
    assert sum("step-000000005: damaged" in message for message in progress.messages) == 1
    assert "resumed at step 4 of 7" in progress.messages
    assert_same_run(run, whole)


def test_a_run_whose_saves_are_all_damaged_does_not_start_over_in_silence(
    photos: Path, stopped: Path, tmp_path: Path
) -> None:
    run = shutil.copytree(stopped, tmp_path / "run")
    (run / "resume" / "step-000000004" / "manifest.json").write_text("{}")
    with pytest.raises(CheckpointError, match="no valid snapshot is left"):
        train(TINY, photos, run, resume=True)


@pytest.mark.parametrize("lost", ["model", "average", "optimizer", "step"])
def test_a_resume_that_forgets_something_is_seen(
    lost: str, photos: Path, whole: Path, stopped: Path, tmp_path: Path
) -> None:
    """The negative control: these tests fail when a part of the state, or the position, is dropped."""
    run = shutil.copytree(stopped, tmp_path / "run")
    program = f"""
import sys
from allmlp.training import train
from allmlp.training.step import state
load = state.TrainState.load
def forgetful(self, tensors, *, step, where):
    fresh = {{name: value for name, value in self.tensors().items()}}
    kept = {{name: fresh.get(name, value) if name.startswith({lost!r}) else value for name, value in tensors.items()}}
    if {lost!r} == "optimizer":
        kept = {{name: value for name, value in kept.items() if not name.startswith("optimizer")}}
    load(self, kept, step=step - 1 if {lost!r} == "step" else step, where=where)
state.TrainState.load = forgetful
from tests.training.small_runs import TINY
train(TINY, sys.argv[1], sys.argv[2], resume=True)
"""
    run_python(program, photos, run).check_returncode()
    with pytest.raises(AssertionError):
        assert_same_run(run, whole)


def test_another_recipe_is_refused_with_every_difference(photos: Path, stopped: Path, tmp_path: Path) -> None:
    run = shutil.copytree(stopped, tmp_path / "run")
    other = dataclasses.replace(TINY, seed=1, optimizer=dataclasses.replace(TINY.optimizer, weight_decay=0.5))
    with pytest.raises(
        ConfigError, match=r"(?s)seed: the run has 0, now 1.*optimizer\.weight_decay: the run has 0\.1, now 0\.5"
    ):
        train(other, photos, run, resume=True)


@pytest.mark.parametrize("key", ["num_epochs", "seed"])
def test_a_finished_run_that_should_train_longer_is_offered_as_a_start(key: str, photos: Path, whole: Path) -> None:
    longer = dataclasses.replace(TINY, **{key: getattr(TINY, key) + 2})
    with pytest.raises(ConfigError, match=rf"{key}: the run has") as refused:
        train(longer, photos, whole, resume=True)
    offer = f"To train its best weights longer: allmlp finetune PHOTOS --from {whole}"
    assert (offer in str(refused.value)) == (key == "num_epochs")


def test_a_finished_run_that_should_take_more_steps_is_offered_as_a_start(photos: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    train(override(TINY, ["num_epochs=0", "num_steps=2"]), photos, run)
    with pytest.raises(
        ConfigError, match=rf"num_steps: the run has 2, now 4(?s:.*)allmlp finetune PHOTOS --from {run}"
    ):
        train(override(TINY, ["num_epochs=0", "num_steps=4"]), photos, run, resume=True)


def test_other_photos_are_refused_by_name(photos: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    shutil.copytree(photos, data)
    run = tmp_path / "run"
    with pytest.raises(KeyboardInterrupt):
        train(TINY, data, run, progress=StopAt(2))
    gone = data / "test" / "red" / "03.png"
    gone.rename(gone.with_name("renamed.png"))
    with pytest.raises(DataError, match=rf"(?s)1 missing: .*{gone.name}.*1 new: .*renamed\.png"):
        train(TINY, data, run, resume=True)


def test_a_second_trainer_on_one_run_is_refused(photos: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    refused: list[str] = []

    class SecondTrainer(StopAt):
        def step(self, step: int, **_: float) -> None:
            if step == 2:
                outcome = run_allmlp("train", "--resume", run)
                refused.append(outcome.stderr)
                assert outcome.returncode == 2

    train(TINY, photos, run, progress=SecondTrainer(-1))
    assert "another training process is using this run" in refused[0]


def test_a_finished_run_is_left_alone(photos: Path, whole: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(whole, run)
    before = {path: path.stat().st_mtime_ns for path in run.rglob("*") if path.is_file()}
    outcome = run_allmlp("train", "--resume", run)
    assert outcome.returncode == 0
    assert "is finished; there is nothing left to train" in outcome.stdout
    assert {path: path.stat().st_mtime_ns for path in run.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize("content", ['{"train": 5}', '{"train": [[1]]}', '{"train": "abc"}', "[]"])
def test_a_split_of_another_form_is_refused_by_name(content: str, photos: Path, whole: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(whole, run)
    (run / "split.json").write_text(content)
    with pytest.raises(CheckpointError, match=r"split\.json: cannot be read as the split of a run \(expected lists"):
        train(TINY, photos, run, resume=True)


def test_class_names_that_are_missing_are_named(photos: Path, whole: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(whole, run)
    (run / "class_names.txt").unlink()
    with pytest.raises(ConfigError, match=r"class_names\.txt: cannot be read"):
        train(TINY, photos, run, resume=True)


def test_a_snapshot_past_the_recipes_end_is_refused(photos: Path, whole: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(whole, run)
    (run / "metrics.json").unlink()
    recipe = json.loads((run / "recipe.json").read_text())
    (run / "recipe.json").write_text(json.dumps({**recipe, "num_epochs": 1}))
    with pytest.raises(CheckpointError, match=r"newest snapshot is of step 7, but the recipe ends at step 2"):
        train(dataclasses.replace(TINY, num_epochs=1), photos, run, resume=True)


def test_a_resumed_run_computes_with_the_number_of_threads_it_started_with(photos: Path, tmp_path: Path) -> None:
    class Threads(NoProgress):
        def __init__(self) -> None:
            self.lines: list[str] = []
            self.counts: set[int] = set()

        def message(self, text: str) -> None:
            self.lines.append(text)

        def step(self, step: int, **_: float) -> None:
            self.counts.add(torch.get_num_threads())

    before = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        with pytest.raises(KeyboardInterrupt):
            train(TINY, photos, tmp_path / "run", progress=StopAt(2), resume=True)
        torch.set_num_threads(2)
        progress = Threads()
        train(TINY, photos, tmp_path / "run", progress=progress, resume=True)
        assert progress.counts == {1} and torch.get_num_threads() == 2
        assert "threads 1, as when the run started, not 2: another number rounds differently" in progress.lines
        progress = Threads()
        train(TINY, photos, tmp_path / "new", progress=progress)
        assert progress.counts == {2} and not any(line.startswith("threads") for line in progress.lines)
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("name", ["environment.json", "decoded.json"])
def test_a_pipe_in_place_of_a_file_that_may_be_missing_does_not_block(
    name: str, photos: Path, whole: Path, stopped: Path, tmp_path: Path
) -> None:
    run = shutil.copytree(stopped, tmp_path / "run")
    (run / name).unlink()
    os.mkfifo(run / name)
    program = "import sys; from allmlp import train; from tests.training.small_runs import TINY; "
    run_python(program + "train(TINY, sys.argv[1], sys.argv[2], resume=True)", photos, run, timeout=60)
    assert_same_run(run, whole)


@pytest.mark.parametrize("name", ["photos.csv", "split.json", "class_names.txt", "data.json", "recipe.json"])
def test_a_pipe_in_place_of_a_file_that_is_needed_is_refused(
    name: str, photos: Path, stopped: Path, tmp_path: Path
) -> None:
    run = shutil.copytree(stopped, tmp_path / "run")
    (run / name).unlink()
    os.mkfifo(run / name)
    with pytest.raises((ConfigError, CheckpointError), match=rf"{name}: .*\(not a regular file\)"):
        train(TINY, photos, run, resume=True)


@pytest.mark.parametrize("lost", [1, 5, 50])
def test_a_list_of_photos_that_lacks_some_is_refused(lost: int, photos: Path, stopped: Path, tmp_path: Path) -> None:
    run = shutil.copytree(stopped, tmp_path / "run")
    lines = (run / "photos.csv").read_text().splitlines(keepends=True)
    (run / "photos.csv").write_text("".join(lines[:-lost]))
    with pytest.raises(ConfigError, match=r"photos\.csv: incomplete \('.*' is missing\)\. Restore it"):
        train(TINY, photos, run, resume=True)


def test_damaged_class_names_are_named_as_the_file_that_differs(photos: Path, stopped: Path, tmp_path: Path) -> None:
    run = shutil.copytree(stopped, tmp_path / "run")
    (run / "class_names.txt").write_text("blue\ngreen\nree\n")
    with pytest.raises(DataError, match=r"now blue, green, red; not those of class_names\.txt"):
        train(TINY, photos, run, resume=True)


@pytest.mark.parametrize(("key", "value"), [("seed", 1), ("num_epochs", TINY.num_epochs + 1)])
def test_a_recipe_that_changed_after_the_snapshot_is_refused(
    key: str, value: int, photos: Path, stopped: Path, tmp_path: Path
) -> None:
    run = shutil.copytree(stopped, tmp_path / "run")
    values = json.loads((run / "recipe.json").read_text())
    (run / "recipe.json").write_text(json.dumps({**values, key: value}))
    changed = dataclasses.replace(TINY, **{key: value})
    with pytest.raises(ConfigError, match=f"changed since the newest snapshot .*\n  {key}: .*\nRestore these values"):
        train(changed, photos, run, resume=True)


@pytest.mark.parametrize("content", [b"", b"[]", b'{"threads": "many"}', b"\xff"])
def test_an_unreadable_number_of_threads_is_said(content: bytes, photos: Path, stopped: Path, tmp_path: Path) -> None:
    run = shutil.copytree(stopped, tmp_path / "run")
    (run / "environment.json").write_bytes(content)
    progress = StopAt(5)
    with pytest.raises(KeyboardInterrupt):
        train(TINY, photos, run, progress=progress, resume=True)
    assert any("environment.json does not say with how many the run started" in line for line in progress.messages)
