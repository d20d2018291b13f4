"""The command `allmlp finetune`: training with a recipe that starts from a trained Mixer."""

import dataclasses
import json
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from allmlp.cli.arguments.checkpoint import (
    FitOption,
    InterpolationOption,
    MeanOption,
    StdOption,
    changed_preprocessing,
    parse_sides,
)
from allmlp.cli.arguments.folder_options import ClassesFromOption, SplitFoldersOption, folder_options
from allmlp.cli.arguments.photos import MaxMegapixelsOption, limit_photos
from allmlp.cli.arguments.recipe import (
    PHOTOS_HELP,
    BadPhotosOption,
    BalanceOption,
    BestByOption,
    EpochsOption,
    FoldsOption,
    LoggerOption,
    MaxMinutesOption,
    PatienceOption,
    PrintRecipeOption,
    SeedOption,
    SetOption,
    TeacherOption,
    TrainBatchSizeOption,
    search_current_folder,
)
from allmlp.cli.console import DeviceOption, aligned, command_line, heading, is_first_process, next_commands, note, say
from allmlp.cli.quality import Quality, QualityOption, better_quality, cost_of_quality, quality_settings
from allmlp.cli.training_request import TrainingRequest, data_words, run_request, show_recipe
from allmlp.config import all_settings, key_of
from allmlp.errors import ConfigError, DivergedError
from allmlp.io.display import escape
from allmlp.runs.layout import new_run_folder

if TYPE_CHECKING:
    from allmlp.data import ImageDataset
    from allmlp.training import Recipe, SweepRun

__all__ = ["finetune"]


def finetune(
    data: Annotated[str | None, typer.Argument(metavar="PHOTOS", help=PHOTOS_HELP, show_default=False)] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            help="The folder of the run or the sweep, new or empty.",
            show_default="runs/<recipe>-<number>, runs/<recipe>-grid-<number>",
        ),
    ] = None,
    quality: QualityOption = None,
    checkpoint: Annotated[
        str | None,
        typer.Option(
            "--from",
            metavar="CHECKPOINT",
            help="The initial checkpoint: a run or checkpoint folder, a weight file, hf:OWNER/NAME, or the name of a "
            "published Mixer (see the models command).",
            show_default="starter, which comes with allmlp",
        ),
    ] = None,
    epochs: EpochsOption = None,
    max_minutes: MaxMinutesOption = None,
    image_size: Annotated[
        str | None,
        typer.Option(metavar="N|HxW", help="Train at another image size, in pixels.", show_default="the checkpoint's"),
    ] = None,
    trained_blocks: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            help="Train only the last N blocks and the classifier; 0: only the classifier.",
            show_default="all",
        ),
    ] = None,
    folds: FoldsOption = None,
    balance: BalanceOption = False,
    resume: Annotated[
        Path | None,
        typer.Option(metavar="RUN", help="Continue this run or sweep, or start it.", show_default=False),
    ] = None,
    recipe: Annotated[str | None, typer.Option(help="See `allmlp recipes`.", show_default="finetune")] = None,
    batch_size: TrainBatchSizeOption = None,
    seed: SeedOption = None,
    patience: PatienceOption = None,
    best_by: BestByOption = None,
    teacher: TeacherOption = None,
    lr_grid: Annotated[
        str | None,
        typer.Option(
            metavar="paper|RATE,RATE,...",
            help="Train one run per learning rate, and compare them on the validation split; paper: 0.003, 0.01, 0.03, 0.06, "
            "with the paper's SGD.",
            show_default=False,
        ),
    ] = None,
    device: DeviceOption = "auto",
    bad_photos: BadPhotosOption = None,
    loggers: LoggerOption = None,
    classes_from: ClassesFromOption = None,
    split_folders: SplitFoldersOption = None,
    max_megapixels: MaxMegapixelsOption = None,
    mean: MeanOption = None,
    std: StdOption = None,
    interpolation: InterpolationOption = None,
    fit: FitOption = None,
    assignments: SetOption = None,
    print_recipe: PrintRecipeOption = False,
) -> None:
    """Fine-tune a trained Mixer on your photos. The classifier keeps classes of the same name; new ones start at zero.

    \b
    Examples:
      allmlp finetune PHOTOS --out runs/mine
      allmlp finetune PHOTOS --quality balanced --max-minutes 30
      allmlp finetune PHOTOS --from b16-i21k --trained-blocks 2
    """
    preprocessing = changed_preprocessing(mean, std, interpolation, fit)
    colours = {f"transfer.{name}": json.dumps(preprocessing[name]) for name in ("mean", "std") if name in preprocessing}
    limit_photos(max_megapixels)
    search_current_folder(recipe)
    chosen = quality_settings(
        quality,
        checkpoint=checkpoint,
        trained_blocks=trained_blocks,
        keys=[*(assignments or ()), *(() if batch_size is None else ("batch_size",))],
    )
    changes = {
        **chosen,
        "transfer.image_size": None if image_size is None else json.dumps(parse_sides(image_size)),
        **colours,
        "data.interpolation": interpolation,
        "data.fit": fit,
        "data.crop_fraction": 1.0 if fit == "pad" else None,
        "num_epochs": epochs,
        "batch_size": batch_size,
        "seed": seed,
        "max_minutes": max_minutes,
        "data.folds": folds,
        "best_by": best_by,
        "sampler": "balanced" if balance else None,
        "patience": patience,
        "distillation.teacher": teacher,
        "data.bad_photos": bad_photos,
    }
    given = all_settings(changes, assignments or [])
    if lr_grid == "paper" and recipe is None:
        given = [*_paper_optimizer(), *given]
    options = folder_options(classes_from, split_folders)
    request = TrainingRequest(
        data=data,
        recipe=recipe,
        given=given,
        out=out,
        resume=resume,
        device=device,
        options=options,
        loggers=tuple(loggers or ()),
    )
    if lr_grid is None:
        cost = None if quality is None else partial(_cost, quality, request.device)
        run_request(request, is_finetuning=True, cost=cost, print_recipe=print_recipe)
    else:
        _run_sweep(request, lr_grid, quality, print_recipe=print_recipe)


def _cost(quality: Quality, device: str, recipe: "Recipe", dataset: "ImageDataset", *, num_runs: int = 1) -> str:
    """Return the line that says what a quality costs on this machine."""
    return f"quality {quality}: {cost_of_quality(quality, recipe, dataset, device=device, num_runs=num_runs)}"


def _paper_optimizer() -> list[str]:
    """Return the optimizer settings for which the paper's rates were chosen; AdamW fails to train at the highest."""
    from allmlp.config import to_dict
    from allmlp.recipes import load_recipe

    settings = to_dict(load_recipe("finetune_paper").optimizer)
    return [f"optimizer.{key}={json.dumps(value)}" for key, value in settings.items() if key != "learning_rate"]


def _learning_rates(text: str) -> list[float]:
    from allmlp.training import PAPER_GRID

    if text == "paper":
        return list(PAPER_GRID)
    try:
        return [float(word) for word in text.split(",")]
    except ValueError as error:
        raise ConfigError(
            f"--lr-grid {text[:100]!r}: expected paper, or learning rates such as 0.003,0.01,0.03."
        ) from error


def _run_sweep(request: TrainingRequest, grid: str, quality: Quality | None, *, print_recipe: bool) -> None:
    from allmlp.checkpoints import STARTER
    from allmlp.recipes import choose_for_finetuning
    from allmlp.training import ConsoleProgress, NoProgress, check_sweep_folder, train_sweep, write_sweep

    learning_rates = _learning_rates(grid)
    if any(key_of(assignment) == "optimizer.learning_rate" for assignment in request.given):
        raise ConfigError("--lr-grid sets the learning rates; omit --set optimizer.learning_rate=.")
    if request.out is not None and request.resume is not None:
        raise ConfigError("--resume names the sweep folder; omit --out.")
    if request.data is None:
        raise typer.BadParameter("the photos to train on are missing.", param_hint="PHOTOS")
    data = request.data
    if "data.folds" not in map(key_of, request.given):  # the rates are compared on photos that are held out once
        request = dataclasses.replace(request, given=[*request.given, "data.folds=0"])
    recipe, dataset, reason = choose_for_finetuning(request.recipe, request.given, partial(request.open, data))
    if quality is not None and is_first_process():
        dataset = dataset or request.open(data)
        cost = _cost(quality, request.device, recipe, dataset, num_runs=len(learning_rates))
        reason = "\n".join(filter(None, (reason, cost)))
    if grid == "paper" and recipe.optimizer.name != "sgd":
        raise ConfigError(
            f"--lr-grid paper: these rates are for SGD, but the optimizer is {recipe.optimizer.name}. Give rates for it, such "
            "as 0.001,0.003,0.01, or use the paper's optimizer: omit --recipe, or use --recipe finetune_paper."
        )
    if print_recipe:
        show_recipe(recipe, reason, given=request.given)
        return
    if reason and is_first_process():
        say(reason)
    folder = request.resume or request.out or new_run_folder(f"{recipe.name}-grid")
    if is_first_process():
        check_sweep_folder(folder, resume=request.resume is not None)
    dataset = dataset or request.open(data)
    try:
        runs = train_sweep(
            recipe,
            dataset,
            folder,
            learning_rates,
            device=request.device,
            progress=ConsoleProgress() if is_first_process() else NoProgress(),
            resume=request.resume is not None,
            loggers=request.loggers,
        )
    except KeyboardInterrupt as stop:
        if is_first_process():
            _note_stopped(folder, is_out=request.out is not None)
        raise typer.Exit(getattr(stop, "exit_code", 130)) from stop
    if is_first_process():
        write_sweep(runs, recipe, folder)
        words = data_words(runs[0].run, dataset.options)
        _print(runs, folder, data, *words)
        if recipe.transfer.checkpoint == STARTER:
            say("\n" + better_quality(dataset, data, words, device=request.device))


def _note_stopped(folder: Path, *, is_out: bool) -> None:
    shown = escape(folder)
    instead = f" instead of --out {shown}" if is_out else ""
    note(f"\nStopped. The progress so far is saved; continue with the same command and --resume {shown}{instead}")


def _print(runs: "list[SweepRun]", folder: Path, *data: str) -> None:
    say()
    rows = [
        (
            f"{run.learning_rate:g}",
            "diverged" if run.top1 is None else f"{run.top1:.1%}",
            "" if run.loss is None else f"{run.loss:.3f}",
            str(run.run),
        )
        for run in runs
    ]
    lines = aligned([("learning rate", "validation top-1", "loss", "run"), *rows], right=(0, 1, 2))
    heading(lines[0])
    say("\n".join(lines[1:]))
    say(f"\nwrote   {escape(folder)}/ (learning_rates.png, learning_rates.json, one run per learning rate)")
    if runs[0].top1 is None:
        raise DivergedError("training diverged at every learning rate. Try lower rates, in this folder or a new one.")
    best = runs[0].run
    next_commands(
        [
            (f"{command_line('predict', best)} PHOTO.jpg", "classify photos with the best run"),
            (command_line("evaluate", best, *data), "score it, class by class"),
        ]
    )
