"""Training requests: from command-line arguments to a finished run, for `train`, `finetune` and `demo`."""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from allmlp.cli.console import command_line, is_first_process, next_commands, note, say
from allmlp.cli.quality import better_quality
from allmlp.errors import ConfigError, DataError
from allmlp.io.display import escape
from allmlp.io.json_object import json_text
from allmlp.io.path_problem import path_advice
from allmlp.runs.layout import RunLayout, SweepLayout, new_run_folder
from allmlp.runs.saved_split import read_split

if TYPE_CHECKING:
    from allmlp.data import ImageDataset
    from allmlp.training import Recipe, StoredRun, TrainResult

__all__ = [
    "TrainingRequest",
    "data_words",
    "run_request",
    "run_training",
    "show_recipe",
]


@dataclass(frozen=True, kw_only=True)
class TrainingRequest:
    """A training run as requested on the command line.

    Attributes:
        data: the photos; None means those of the run to resume.
        options: how the folders of the photos are read, as arguments of `open_dataset`.
        recipe: the name of a recipe; None means the one that fits the data, or the one of the run to resume.
        given: assignments to its settings.
        out, resume: the run folder; at most one of the two is given.
        device: as in every command.
        loggers: the names of experiment trackers.
    """

    data: str | None
    recipe: str | None
    given: list[str]
    out: Path | None
    resume: Path | None
    device: str
    options: Mapping[str, Any] = field(default_factory=dict)
    loggers: tuple[str, ...] = ()

    def open(self, data: str, run: "StoredRun | None" = None) -> "ImageDataset":
        """Open the photos with the options of the request, or else of the run."""
        from allmlp.data import open_dataset

        return open_dataset(data, **(self.options or (run.options if run else {})))


def run_request(
    request: TrainingRequest,
    *,
    is_finetuning: bool,
    print_recipe: bool,
    cost: "Callable[[Recipe, ImageDataset], str] | None" = None,
) -> None:
    """Train as requested, or print the recipe; `is_finetuning` if a new run must start from a checkpoint.

    `cost` returns a line on what a new run costs, to be printed before it begins.
    """
    data, resume = request.data, request.resume
    run = _stored_run(resume, request.out)
    if resume is not None and run is None:
        _check_is_no_part(resume)
    if run is not None and run.is_finished and not print_recipe and _is_done(run, request):
        return
    data = data or (run.data if run else None)
    if data is None:
        advice = "" if resume is None or resume.exists() else path_advice(resume)
        where = f" There is no run in {escape(resume)} yet. {advice}".rstrip() if resume else ""
        raise typer.BadParameter(f"the photos to train on are missing.{where}", param_hint="PHOTOS")
    if run is None:
        from allmlp.recipes import choose_for_finetuning, choose_for_training

        choose = choose_for_finetuning if is_finetuning else choose_for_training
        resolved, dataset, reason = choose(request.recipe, request.given, partial(request.open, data))
        if cost is not None and is_first_process():
            dataset = dataset or request.open(data)
            reason = "\n".join(filter(None, (reason, cost(resolved, dataset))))
    else:
        resolved, dataset, reason = _recipe_of(run, request), None, ""
        if request.data is None:
            _check_present(run)
    reason = reason if is_first_process() else ""
    if print_recipe:
        show_recipe(resolved, reason, given=request.given, run=run)
        return
    if reason:
        say(reason)
    out = resume or request.out or new_run_folder(resolved.name)
    photos = request.open(data) if dataset is None and request.options else data if dataset is None else dataset
    from allmlp.checkpoints import STARTER

    result = run_training(
        resolved, photos, out, device=request.device, resume=resume is not None, loggers=request.loggers
    )
    if not is_first_process():
        return
    written = ["report.html", "results.csv", "predictions.csv", "checkpoints/best", "checkpoints/last"]
    written += ["skipped.csv"] if result.dataset.skipped else []
    say(f"\nwrote   {escape(result.directory)}/ ({', '.join(written)})")
    options = request.options or (run.options if run else {})
    if result.recipe.transfer.checkpoint == STARTER:
        words = data_words(result.directory, options)
        say("\n" + better_quality(result.dataset, data, words, device=request.device))
    _print_next(result.directory, data, options)


def _check_present(run: "StoredRun") -> None:
    """Check that the photos of a run are where they were.

    Raises:
        DataError: they are not.
    """
    if Path(run.data).is_absolute() and not os.path.lexists(run.data):
        command = command_line("train", "PHOTOS", "--resume", run.path)
        raise DataError(
            f"{escape(run.data)}: the photos of this run are not there any more. If they are in another place now, name it: "
            f"{command}"
        )


def _is_done(run: "StoredRun", request: TrainingRequest) -> bool:
    """Check the request against a finished run, as for a run that continues, and say whether nothing is left to do."""
    from allmlp.training import check_matches_run, damage_of

    recipe = _recipe_of(run, request)
    check_matches_run(run, recipe, None if request.data is None else request.open(request.data, run))
    damage = damage_of(run)
    if is_first_process():
        if damage:
            note(f"{escape(run.path)} is finished, but damaged; its end is repeated from its last snapshot. {damage}")
        else:
            say(f"{escape(run.path)} is finished; there is nothing left to train.")
            _print_next(run.path, request.data or run.data, request.options or run.options)
    return not damage


def show_recipe(recipe: "Recipe", reason: str, *, given: list[str], run: "StoredRun | None" = None) -> None:
    """Print a recipe as JSON, and the reason for its choice on standard error.

    If the user set a checkpoint or an image size for fine-tuning, the Mixer differs from the recipe's, so the checkpoint is
    read.
    """
    from allmlp.config import to_dict
    from allmlp.training import resolved_with_checkpoint, resumed_recipe

    if run is not None:
        recipe = resumed_recipe(recipe, run.recipe, where=run.path)
    elif recipe.data.interpolation is None or any(setting.strip().startswith("transfer.") for setting in given):
        recipe = resolved_with_checkpoint(recipe, report=note)
    if reason:
        note(reason)
    print(json_text(to_dict(recipe), indent=2))


def _print_next(run: Path, data: str, options: Mapping[str, Any]) -> None:
    from allmlp.data import default_split

    split = default_split(read_split(RunLayout(run).split))
    evaluate = command_line("evaluate", run, data, *data_words(run, options), "--split", split)
    purpose = "score it again, class by class"
    if split == "train":  # it has learned all of them: their score would be too high
        evaluate, purpose = (
            f"{command_line('evaluate', run)} OTHER_PHOTOS",
            "score it on labelled photos that are new to it",
        )
    next_commands(
        [
            (f"{command_line('predict', run)} PHOTO.jpg", "classify photos or whole folders"),
            (evaluate, purpose),
            (command_line("inspect", run), "show its size, pre-processing and classes"),
        ]
    )


def data_words(run: Path, options: Mapping[str, Any]) -> list[str]:
    """Return the options with which `evaluate` reads the photos as the run did; `options` are those of `open_dataset`."""
    from allmlp.data import command_options

    return command_options(options) + (["--bad-photos", "skip"] if RunLayout(run).skipped.exists() else [])


def _stored_run(resume: Path | None, out: Path | None) -> "StoredRun | None":
    if resume is None:
        return None
    if out is not None:
        raise ConfigError("--resume names the run folder; omit --out.")
    from allmlp.training import stored_run

    run = stored_run(resume)
    if run is None and (trial := next(iter(SweepLayout(resume).runs()), None)) is not None:
        raise ConfigError(
            f"{resume}: this is a learning-rate sweep: one run per learning rate. Continue it with `allmlp finetune` and the "
            f"same --lr-grid, or continue a single run: --resume {trial}."
        )
    return run


def _check_is_no_part(resume: Path) -> None:
    """Check that `--resume` does not name a folder inside a run, such as a checkpoint: no run can be started there.

    Raises:
        ConfigError: it does.
    """
    runs = (folder for folder in resume.parents if RunLayout(folder).recipe.is_file())
    real = Path(os.path.realpath(resume))  # "../other" is not inside the current folder
    around = next((folder for folder in runs if real.is_relative_to(os.path.realpath(folder))), None)
    if around is not None:
        raise ConfigError(
            f"{escape(resume)}: this is inside a run, and not a run folder. Give the run: --resume {escape(around)}."
        )


def _recipe_of(run: "StoredRun", request: TrainingRequest) -> "Recipe":
    from allmlp.recipes import choose_for_run

    return choose_for_run(run, request.recipe, request.given)


def run_training(
    recipe: "Recipe",
    data: "str | ImageDataset",
    out: Path,
    *,
    device: str = "auto",
    resume: bool = False,
    loggers: Sequence[str] = (),
) -> "TrainResult":
    """Train with progress on the console. On Ctrl-C or SIGTERM, report what was saved and exit with 130 or 143."""
    from allmlp.training import ConsoleProgress
    from allmlp.training import train as train_recipe

    try:
        return train_recipe(
            recipe, data, out, device=device, progress=ConsoleProgress(), resume=resume, loggers=loggers
        )
    except KeyboardInterrupt as stop:
        if not is_first_process():
            pass
        elif RunLayout(out).resume.is_dir():
            report = RunLayout(out).report
            with_report = f", with a report ({escape(report)})" if report.exists() else ""
            command = command_line("train", "--resume", out)
            note(f"\nStopped. The progress so far is saved{with_report}; continue with: {command}")
        else:
            note("\nStopped before the first step; there is nothing to save.")
        raise typer.Exit(getattr(stop, "exit_code", 130)) from stop
