"""Training by the name of a recipe, and fine-tuning, in Python: the same runs as those of the commands."""

import dataclasses
import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.builders import tiny_checkpoint
from tests.training.small_runs import TINY, write_photos

import allmlp
from allmlp.cli.main import main
from allmlp.config import all_settings
from allmlp.data import ImageDataset, open_dataset
from allmlp.recipes import choose_for_finetuning, finetune_for
from allmlp.training import ConsoleProgress, NoProgress, displayed_progress

TINY_NAME = "tests.training.small_runs:tiny"


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("original")
    write_photos(folder / "photos")
    allmlp.save_checkpoint(tiny_checkpoint(class_names=("blue", "green", "hat")), folder / "trained")
    return folder


@pytest.fixture
def place(original: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with photos/ and the checkpoint trained/, to work in."""
    shutil.copytree(original, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def command(*words: str) -> None:
    with pytest.raises(SystemExit) as stop:
        main(list(words))
    assert stop.value.code == 0


def results_of(run: Path) -> tuple[Any, bytes]:
    """Return the resolved recipe and the best weights of a run."""
    return json.loads((run / "recipe.json").read_text()), (run / "checkpoints/best/model.safetensors").read_bytes()


class StopAtStep(NoProgress):
    def __init__(self, number: int) -> None:
        self.number = number
        self.lines: list[str] = []

    def message(self, text: str) -> None:
        self.lines.append(text)

    def step(self, step: int, **_: float) -> None:
        if step == self.number:
            raise KeyboardInterrupt


def test_finetune_trains_the_run_of_the_command(place: Path) -> None:
    options = {"trained_blocks": 1, "folds": 0, "seed": 3}
    result = allmlp.finetune(
        "photos", checkpoint="trained", epochs=2, image_size=24, settings={"augmentation.cutmix": 0}, **options
    )
    assert result.directory == Path("runs/finetune-1")
    words = "--from trained --epochs 2 --image-size 24 --trained-blocks 1 --folds 0 --seed 3"
    command("finetune", "photos", *words.split(), "--set", "augmentation.cutmix=0", "--out", "other")
    assert results_of(result.directory) == results_of(Path("other"))
    assert result.recipe.augmentation.cutmix == 0
    assert result.recipe.transfer.image_size == (24, 24)


def test_train_takes_the_name_of_a_recipe(place: Path) -> None:
    by_name = allmlp.train(TINY_NAME, "photos", epochs=1, image_size=(16, 24), settings=["batch_size=8"])
    assert by_name.directory == Path("runs/tiny-1")
    words = ("--recipe", TINY_NAME, "--epochs", "1", "--image-size", "16x24", "--set", "batch_size=8")
    command("train", "photos", *words)
    assert results_of(by_name.directory) == results_of(Path("runs/tiny-2"))


def test_a_recipe_and_its_name_train_the_same_run(place: Path) -> None:
    dataset = open_dataset("photos")
    runs = [allmlp.train(recipe, dataset, place / recipe[-4:] if isinstance(recipe, str) else place / "object")
            for recipe in (TINY_NAME, TINY)]  # fmt: skip
    assert results_of(runs[0].directory) == results_of(runs[1].directory)


def test_a_stopped_run_continues_with_the_same_call(place: Path) -> None:
    def finetune(out: str, *, resume: bool = False, progress: Any = None) -> allmlp.TrainResult:
        return allmlp.finetune(
            "photos",
            out,
            checkpoint="trained",
            epochs=4,
            folds=0,
            settings={"batch_size": 8},
            progress=progress,
            resume=resume,
        )

    stop = StopAtStep(7)
    with pytest.raises(KeyboardInterrupt):
        finetune("stopped", progress=stop)
    assert stop.lines[-1] == (
        "Stopped. The progress so far is saved; continue with the same call and out='stopped', resume=True."
    )
    continued, whole = finetune("stopped", resume=True), finetune("whole")
    assert results_of(continued.directory) == results_of(whole.directory)
    assert continued.sample_digest == whole.sample_digest
    with pytest.raises(allmlp.ConfigError, match="seed"):
        allmlp.finetune("photos", "whole", seed=9, resume=True)
    with pytest.raises(allmlp.ConfigError, match="continues the run in `out`; give its folder"):
        allmlp.finetune("photos", resume=True)


def test_invalid_names_and_settings_are_errors_before_anything_is_written(place: Path) -> None:
    calls = {
        "unknown recipe 'photo64'. Did you mean 'photos64'": lambda: allmlp.train("photo64", "photos"),
        "unknown recipe 'finetuned'. Did you mean 'finetune'": lambda: allmlp.finetune("photos", recipe="finetuned"),
        "augmentation.cutmx: unknown key. Did you mean 'augmentation.cutmix'": lambda: allmlp.finetune(
            "photos", settings={"augmentation.cutmx": 0}
        ),
        "set twice: seed (to 1 by its option)": lambda: allmlp.finetune("photos", seed=1, settings={"seed": 2}),
        "recipe photos64 does not specify an initial checkpoint": lambda: allmlp.finetune("photos", recipe="photos64"),
        "settings 'seed=1': expected a dict": lambda: allmlp.finetune("photos", settings="seed=1"),
        "settings 3: expected a dict": lambda: allmlp.train("demo", "photos", settings=3),  # type: ignore[arg-type]
        "num_epochs: expected a whole number, got 2.5": lambda: allmlp.finetune("photos", epochs=2.5),  # type: ignore[arg-type]
    }
    for message, call in calls.items():
        with pytest.raises(allmlp.ConfigError, match=re.escape(message)):
            call()
    assert not Path("runs").exists()


def test_settings_of_both_forms_are_the_assignments_of_set() -> None:
    values = {"a": 1, "b.c": None, "d": (1, 2), "e": True, "f": "none", "g": Path("x")}
    assert all_settings({"h": 0.5, "i": None}, values) == [
        "h=0.5",
        "a=1",
        "b.c=null",
        "d=[1, 2]",
        "e=true",
        "f=none",
        "g=x",
    ]
    assert all_settings({}, ["a=1"]) == all_settings({}, {"a": 1})


def test_the_folds_of_a_few_photos_are_chosen_as_by_the_command(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    opened = []

    def open_photos() -> Any:
        opened.append(open_dataset("photos"))
        return opened[-1]

    for given, folds, words in (
        ([], 5, "(--folds 0 "),
        (["data.holdout=0.2"], 0, "42 photos before the hold-out, so 119 epochs"),
        (["transfer.checkpoint=trained"], 0, "so 119 epochs; a tenth is held out once (--folds 5 "),
        (["transfer.checkpoint=trained", "patience=2"], 0, "so 119 epochs"),
        (["transfer.checkpoint=trained", "num_epochs=3"], 0, ""),
        (["data.folds=3"], 3, ""),
    ):
        chosen = choose_for_finetuning(None, given, open_photos)
        assert chosen.recipe.data.folds == folds
        assert words in chosen.reason and bool(chosen.reason) == bool(words)
        assert ("--folds 5" in chosen.reason) == ("--folds 5" in words)
        command("finetune", "photos", "--print-recipe", *(word for each in given for word in ("--set", each)))
        assert json.loads(capsys.readouterr().out)["data"]["folds"] == folds
    assert len(opened) == 6


@pytest.mark.parametrize(
    ("num_photos", "epochs", "folds"),
    [(50, 100, 5), (125, 40, 5), (499, 40, 5), (500, 40, 0), (1_000, 20, 0), (5_000, 20, 0), (100_000, 5, 0)],
)
def test_the_epochs_and_the_folds_of_fine_tuning_follow_from_the_number_of_photos(
    place: Path, num_photos: int, epochs: int, folds: int
) -> None:
    """40 epochs of a few photos, 20 of many; 5,000 to 500,000 are seen; fewer than 500 are cross-validated."""
    dataset = open_dataset("photos")
    few = dataset.splits["train"]
    indices = np.arange(num_photos) % len(few)
    split = dataclasses.replace(
        few,
        sample_ids=tuple(map(str, range(num_photos))),
        labels=few.labels[indices],
        reader=few.reader.subset(indices),
    )
    recipe, reason = finetune_for(ImageDataset(dataset.class_names, {"train": split}, "photos"))
    assert (recipe.num_epochs, recipe.data.folds) == (epochs, folds)
    assert f"{num_photos:,} photos" in reason
    split_off = ImageDataset(dataset.class_names, {"train": split, "validation": few}, "photos")
    assert finetune_for(split_off)[0].data.folds == 0


def test_progress_is_that_of_the_command_or_silent(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command("train", "photos", "--recipe", TINY_NAME, "--epochs", "1", "--out", "a")
    by_command = capsys.readouterr().out
    allmlp.train(TINY_NAME, "photos", "b", epochs=1)
    lines = capsys.readouterr().out.splitlines()
    without_times = [re.sub(r"[\d,]+ photos/s.*", "", line) for line in by_command.splitlines()]
    assert [re.sub(r"[\d,]+ photos/s.*", "", line) for line in lines] == without_times[: len(lines)]
    assert any(line.startswith("epoch   1") for line in lines)
    assert without_times[len(lines) : len(lines) + 2] == ["", without_times[len(lines) + 1]]
    for number, progress in enumerate((None, False)):
        allmlp.train(TINY_NAME, "photos", f"silent{number}", epochs=1, progress=progress)
    shown = capsys.readouterr()
    assert shown.out == shown.err == ""


def test_of_several_processes_only_the_first_displays_progress(monkeypatch: pytest.MonkeyPatch) -> None:
    assert isinstance(displayed_progress(True), ConsoleProgress)
    monkeypatch.setenv("RANK", "1")
    assert isinstance(displayed_progress(True), NoProgress)
    own = StopAtStep(1)
    assert displayed_progress(own) is own


def test_a_result_shows_its_score_with_its_interval_its_folder_and_its_report(place: Path) -> None:
    result = allmlp.train(TINY_NAME, "photos", "a <b>", epochs=1, progress=None)
    top1 = result.evaluations["test"].top1_text
    assert "; 95% interval" in top1
    assert repr(result) == f"TrainResult(a <b>: test top-1 {top1})"
    shown = result._repr_html_()
    assert f"<td>{top1}</td>" in shown
    assert "run folder: a &lt;b&gt;" in shown
    assert 'href="a%20%3Cb%3E/report.html"' in shown
