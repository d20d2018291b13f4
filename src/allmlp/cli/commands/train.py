"""The command `allmlp train`."""

import json
from pathlib import Path
from typing import Annotated

import typer

from allmlp.cli.arguments.checkpoint import parse_sides
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
from allmlp.cli.console import DeviceOption
from allmlp.cli.training_request import TrainingRequest, run_request
from allmlp.config import all_settings

__all__ = ["train"]


def train(
    data: Annotated[str | None, typer.Argument(metavar="PHOTOS", help=PHOTOS_HELP, show_default=False)] = None,
    out: Annotated[
        Path | None, typer.Option(help="The run folder, new or empty.", show_default="runs/<recipe>-<number>")
    ] = None,
    epochs: EpochsOption = None,
    max_minutes: MaxMinutesOption = None,
    image_size: Annotated[
        str | None,
        typer.Option(metavar="N|HxW", help="Train at this image size, in pixels.", show_default="the recipe's"),
    ] = None,
    recipe: Annotated[
        str | None, typer.Option(help="See `allmlp recipes`.", show_default="chosen for the photos")
    ] = None,
    folds: FoldsOption = None,
    balance: BalanceOption = False,
    resume: Annotated[
        Path | None,
        typer.Option(
            metavar="RUN", help="Continue this run with its photos and recipe, or start it.", show_default=False
        ),
    ] = None,
    batch_size: TrainBatchSizeOption = None,
    seed: SeedOption = None,
    patience: PatienceOption = None,
    best_by: BestByOption = None,
    teacher: TeacherOption = None,
    device: DeviceOption = "auto",
    bad_photos: BadPhotosOption = None,
    loggers: LoggerOption = None,
    classes_from: ClassesFromOption = None,
    split_folders: SplitFoldersOption = None,
    max_megapixels: MaxMegapixelsOption = None,
    on_nonfinite: Annotated[
        str | None,
        typer.Option(
            metavar="stop|skip",
            help="What to do if the loss is not finite: end the run, or leave the step out.",
            show_default="stop",
        ),
    ] = None,
    assignments: SetOption = None,
    print_recipe: PrintRecipeOption = False,
) -> None:
    """Train a Mixer on your photos. Ctrl-C saves the progress; --resume continues from there.

    \b
    Examples:
      allmlp train PHOTOS --out runs/mine
      allmlp train PHOTOS --recipe photos64 --epochs 50 --set augmentation.cutmix=0
      allmlp train --resume runs/mine
    """
    limit_photos(max_megapixels)
    search_current_folder(recipe)
    changes: dict[str, object] = {
        "num_epochs": epochs,
        "batch_size": batch_size,
        "seed": seed,
        "max_minutes": max_minutes,
        "data.folds": folds,
        "best_by": best_by,
        "sampler": "balanced" if balance else None,
        "patience": patience,
        "distillation.teacher": teacher,
        "on_nonfinite": on_nonfinite,
        "data.bad_photos": bad_photos,
    }
    if image_size is not None:
        changes[_image_size_key(recipe, resume, assignments or [])] = json.dumps(parse_sides(image_size))
    options = folder_options(classes_from, split_folders)
    given = all_settings(changes, assignments or [])
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
    run_request(request, is_finetuning=False, print_recipe=print_recipe)


def _image_size_key(recipe: str | None, resume: Path | None, given: list[str]) -> str:
    from allmlp.recipes import image_size_key
    from allmlp.training import stored_run

    run = None if resume is None or recipe is not None else stored_run(resume)
    return image_size_key(recipe, run, given)
