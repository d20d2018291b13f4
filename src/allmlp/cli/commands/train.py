"""`allmlp train`."""

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from allmlp.cli.arguments.checkpoint import parse_sides
from allmlp.cli.console import DeviceOption, command_line, is_first_process, next_commands, note
from allmlp.errors import ConfigError
from allmlp.runs.layout import RunLayout

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from allmlp.data import ImageDataset
    from allmlp.training import Recipe, StoredRun, TrainResult

    ChosenRecipe = tuple[Recipe, ImageDataset | None, str]
    Choose = Callable[[str, str | None, list[str]], ChosenRecipe]

__all__ = [
    "EpochsOption",
    "MaxMinutesOption",
    "PrintRecipeOption",
    "Request",
    "SeedOption",
    "SetOption",
    "TrainBatchSizeOption",
    "all_settings",
    "named_recipe",
    "new_run_folder",
    "run_request",
    "run_training",
    "show_recipe",
    "train",
]

# Of `finetune` as well.
SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Change any setting of the recipe; may be repeated."),
]
EpochsOption = Annotated[int | None, typer.Option(help="Short for --set num_epochs=.", show_default=False)]
TrainBatchSizeOption = Annotated[int | None, typer.Option(help="Short for --set batch_size=.", show_default=False)]
SeedOption = Annotated[int | None, typer.Option(help="Short for --set seed=.", show_default=False)]
MaxMinutesOption = Annotated[
    float | None, typer.Option(help="Train fewer epochs where the recipe's would take longer.", show_default=False)
]
PrintRecipeOption = Annotated[
    bool,
    typer.Option(
        "--print-recipe",
        help="Print the settings for DATA as JSON and stop; its classes are counted when training begins.",
    ),
]

_DATA = "A folder with a sub-folder a class, a zip of one, Parquet, a CSV, or a named data set: see `allmlp data`."


def train(
    data: Annotated[str | None, typer.Argument(metavar="DATA", help=_DATA, show_default=False)] = None,
    recipe: Annotated[
        str | None, typer.Option(help="See `allmlp recipes`; chosen by the data when left out.", show_default=False)
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="The run's folder, new or empty.", show_default="runs/<recipe>-<number>")
    ] = None,
    resume: Annotated[
        Path | None,
        typer.Option(
            metavar="RUN", help="Continue this run, or begin it; photos and recipe are the run's.", show_default=False
        ),
    ] = None,
    assignments: SetOption = None,
    epochs: EpochsOption = None,
    batch_size: TrainBatchSizeOption = None,
    image_size: Annotated[
        str | None,
        typer.Option(metavar="N|HxW", help="Train at this image size, in pixels.", show_default=False),
    ] = None,
    seed: SeedOption = None,
    max_minutes: MaxMinutesOption = None,
    on_nonfinite: Annotated[
        str | None,
        typer.Option(
            metavar="stop|skip",
            help="What a loss that is not finite does; short for --set on_nonfinite=.",
            show_default="stop",
        ),
    ] = None,
    device: DeviceOption = "auto",
    print_recipe: PrintRecipeOption = False,
) -> None:
    """Train a Mixer on your photos. Ctrl-C keeps what was learned so far; --resume goes on from there."""
    changes: dict[str, object] = {
        "num_epochs": epochs,
        "batch_size": batch_size,
        "seed": seed,
        "max_minutes": max_minutes,
        "on_nonfinite": on_nonfinite,
    }
    if image_size is not None:
        part = "transfer" if _begins_with_checkpoint(recipe, resume, assignments or []) else "model"
        changes[f"{part}.image_size"] = json.dumps(parse_sides(image_size))
    given = all_settings(changes, assignments or [])
    request = Request(data=data, recipe=recipe, given=given, out=out, resume=resume, device=device)
    run_request(request, _choose, print_recipe=print_recipe)


def all_settings(options: "Mapping[str, object]", assignments: list[str]) -> list[str]:
    """Return what options and --set ask for, as assignments; `options` has the values by key, None where none was given.

    Raises:
        ConfigError: a key is set by an option and by --set.
    """
    given = {key: str(value) for key, value in options.items() if value is not None}
    assigned = {one.partition("=")[0].strip() for one in assignments}
    if twice := sorted(assigned & given.keys()):
        shown = ", ".join(f"{key} ({given[key]} by its own option)" for key in twice)
        raise ConfigError(f"set twice: {shown}. Leave out the option or --set {twice[0]}=.")
    return [*(f"{key}={value}" for key, value in given.items()), *assignments]


@dataclass(frozen=True, kw_only=True)
class Request:
    """What was asked for on the command line.

    Attributes:
        data: the photos; None are the run's.
        recipe: a recipe's name; None leaves it to the data, or to the run.
        given: assignments to its settings.
        out, resume: the run's folder, of which one at most is given.
        device: as in every command.
    """

    data: str | None
    recipe: str | None
    given: list[str]
    out: Path | None
    resume: Path | None
    device: str


def run_request(request: Request, choose: "Choose", *, print_recipe: bool) -> None:
    """Train as requested, or print the recipe; `choose` resolves the recipe of a run that does not exist yet."""
    data, resume = request.data, request.resume
    run = _stored_run(resume, request.out)
    if run is not None and run.is_finished and not print_recipe:
        _check_ended(run, request)
        if is_first_process():
            print(f"{run.path} is finished; there is nothing left to train.")
            _print_next(run.path, data or run.data)
        return
    data = data or (run.data if run else None)
    if data is None:
        where = f" There is no run in {resume} yet." if resume else ""
        raise typer.BadParameter(f"the photos to train on are missing.{where}", param_hint="DATA")
    recipe, given = request.recipe, request.given
    resolved, dataset, reason = choose(data, recipe, given) if run is None else _recipe_of(run, recipe, given)
    reason = reason if is_first_process() else ""
    if print_recipe:
        show_recipe(resolved, reason, given=given, run=run)
        return
    if reason:
        print(reason)
    out = resume or request.out or new_run_folder(resolved.name)
    photos = data if dataset is None else dataset
    result = run_training(resolved, photos, out, device=request.device, resume=resume is not None)
    if not is_first_process():
        return
    print(f"\nwrote   {result.directory}/ (report.html, results.csv, checkpoints/best, checkpoints/last)")
    _print_next(result.directory, data, scored="test" if "test" in result.evaluations else "validation")


def _check_ended(run: "StoredRun", request: Request) -> None:
    """Compare what was asked for with a run that has ended, as with one that goes on."""
    from allmlp.data import open_dataset
    from allmlp.training import check_ended

    recipe, _, _ = _recipe_of(run, request.recipe, request.given)
    check_ended(run, recipe, None if request.data is None else open_dataset(request.data))


def show_recipe(recipe: "Recipe", reason: str, *, given: list[str], run: "StoredRun | None" = None) -> None:
    """Print a recipe as JSON, and on standard error why it was chosen.

    With a checkpoint that was given, or another image size, the Mixer is another than the recipe's: then it is read.
    """
    from allmlp.config import to_dict
    from allmlp.training import continued, resolved_with_checkpoint

    if run is not None:
        recipe = continued(recipe, run.recipe, where=run.path)
    elif recipe.data.interpolation is None or any(one.strip().startswith("transfer.") for one in given):
        recipe = resolved_with_checkpoint(recipe, report=note)
    if reason:
        note(reason)
    print(json.dumps(to_dict(recipe), indent=2))


def _print_next(run: Path, data: str, *, scored: str | None = None) -> None:
    split = () if scored is None else ("--split", scored)
    next_commands(
        [
            (f"{command_line('predict', run)} PHOTO.jpg", "name photos or whole folders of them"),
            (command_line("evaluate", run, data, *split), "score it again, class by class"),
            (command_line("inspect", run), "its size, pre-processing and classes"),
        ]
    )


def _stored_run(resume: Path | None, out: Path | None) -> "StoredRun | None":
    if resume is None:
        return None
    if out is not None:
        raise ConfigError("--resume names the run's folder; leave --out away.")
    from allmlp.training import stored_run

    run = stored_run(resume)
    if run is None and (one := next(resume.glob("lr-*/recipe.json"), None)) is not None:
        raise ConfigError(
            f"{resume}: this is a learning-rate sweep: one run per learning rate. Continue it by `allmlp finetune` and the "
            f"same --lr-grid, or continue a single run: --resume {one.parent}."
        )
    return run


def _recipe_of(run: "StoredRun", recipe: str | None, given: list[str]) -> tuple["Recipe", None, str]:
    """Return what was asked for of a run that is there already: its own recipe but for what was given."""
    from allmlp.recipes import FITTED_TO_PHOTOS
    from allmlp.training import asked, with_num_epochs, with_settings

    wanted = asked(run.recipe) if recipe is None else named_recipe(recipe)
    if recipe in FITTED_TO_PHOTOS:  # which are the same
        wanted = with_num_epochs(wanted, run.recipe.num_epochs)
    return with_settings(wanted, given), None, ""


def _begins_with_checkpoint(recipe: str | None, resume: Path | None, given: list[str]) -> bool:
    """Whether a checkpoint decides the Mixer of what was asked for: then its image size is a setting of `transfer`."""
    from allmlp.config import override
    from allmlp.recipes import RECIPES
    from allmlp.training import stored_run

    run = None if resume is None or recipe is not None else stored_run(resume)
    asked = run.recipe if run else named_recipe(recipe) if recipe is not None else RECIPES["photos64"]()
    own = [one for one in given if one.partition("=")[0].strip() == "transfer.checkpoint"]
    return override(asked, own).transfer.checkpoint is not None


def named_recipe(recipe: str) -> "Recipe":
    """Return a recipe of allmlp, or one of the user's own from the current folder."""
    from allmlp.recipes import load_recipe

    if ":" in recipe and "" not in sys.path:
        sys.path.insert(0, "")  # my_module.py lies in the current folder, which an installed command does not search
    return load_recipe(recipe)


def _choose(data: str, recipe: str | None, assignments: list[str]) -> "ChosenRecipe":
    """Return the resolved recipe; the data set, where it had to be opened to choose one; and why it was chosen."""
    from allmlp.recipes import recipe_for
    from allmlp.training import with_settings

    if recipe is not None:
        # Before any file of the data is touched: a typing error must not cost the time that listing photos takes.
        return with_settings(named_recipe(recipe), assignments), None, ""
    from allmlp.data import open_dataset

    dataset = open_dataset(data)
    chosen, reason = recipe_for(dataset)
    return with_settings(chosen, assignments), dataset, reason


def new_run_folder(name: str) -> Path:
    """Return the first runs/<name>-<number> that does not exist."""
    number = 1
    while (folder := Path("runs") / f"{name}-{number}").exists():
        number += 1
    return folder


def run_training(
    recipe: "Recipe", data: "str | ImageDataset", out: Path, *, device: str = "auto", resume: bool = False
) -> "TrainResult":
    """Train with progress on the console; on Ctrl-C or SIGTERM say what is left of the run, and exit 130 or 143."""
    from allmlp.cli.progress import ConsoleProgress
    from allmlp.training import train as train_recipe

    try:
        return train_recipe(recipe, data, out, device=device, progress=ConsoleProgress(), resume=resume)
    except KeyboardInterrupt as stop:
        if not is_first_process():
            pass
        elif RunLayout(out).resume.is_dir():
            note(f"\nStopped. What was learned so far is kept; go on with: {command_line('train', '--resume', out)}")
        else:
            note("\nStopped before the first step; there is nothing to keep.")
        raise typer.Exit(getattr(stop, "exit_code", 130)) from stop
