"""Recipe options: `--set` and its short forms, collected into assignments."""

import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated

import typer

from allmlp.errors import ConfigError

if TYPE_CHECKING:
    from allmlp.training import Recipe

__all__ = [
    "DATA_HELP",
    "BadPhotosOption",
    "BalanceOption",
    "BestByOption",
    "EpochsOption",
    "FoldsOption",
    "LoggerOption",
    "MaxMinutesOption",
    "PatienceOption",
    "PrintRecipeOption",
    "SeedOption",
    "SetOption",
    "TrainBatchSizeOption",
    "all_settings",
    "key_of",
    "named_recipe",
]

DATA_HELP = (
    "A folder with one sub-folder per class, a zip of one, Parquet, CSV, or a public data set (see the data command)."
)

SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Change a setting of the recipe; may be repeated."),
]
EpochsOption = Annotated[int | None, typer.Option(help="Short for --set num_epochs=.", show_default=False)]
TrainBatchSizeOption = Annotated[int | None, typer.Option(help="Short for --set batch_size=.", show_default=False)]
SeedOption = Annotated[int | None, typer.Option(help="Short for --set seed=.", show_default=False)]
MaxMinutesOption = Annotated[
    float | None,
    typer.Option(
        help="The time for the whole run. If the recipe's epochs would take longer, fewer are trained, as many as fit.",
        show_default=False,
    ),
]
FoldsOption = Annotated[
    int | None,
    typer.Option(
        metavar="K",
        help="Cross-validate in K folds: train on all photos, and once more per fold to score the photos that it leaves out; "
        "0 holds out a tenth once.",
        show_default=False,
    ),
]
BestByOption = Annotated[
    str | None,
    typer.Option(
        metavar="top1|loss|last",
        help="Which weights are the best: of the highest validation top-1, of the lowest validation loss, or the last.",
        show_default=False,
    ),
]
PatienceOption = Annotated[
    int | None,
    typer.Option(metavar="N", help="End after N epochs without better weights.", show_default=False),
]
BalanceOption = Annotated[
    bool,
    typer.Option("--balance", help="Show every class equally often, however few its photos: --set sampler=balanced."),
]
BadPhotosOption = Annotated[
    str | None,
    typer.Option(
        metavar="stop|skip",
        help="What to do if photos cannot be decoded: name them and stop, or leave them out, with a list in skipped.csv.",
        show_default="stop",
    ),
]
LoggerOption = Annotated[
    list[str] | None,
    typer.Option(
        "--logger",
        metavar="tensorboard|wandb|mlflow",
        help="Send losses and scores to this experiment tracker, too; may be repeated.",
    ),
]
PrintRecipeOption = Annotated[
    bool,
    typer.Option(
        "--print-recipe",
        help="Print the recipe for DATA as JSON and exit; the number of classes is set when training starts.",
    ),
]


def key_of(assignment: str) -> str:
    """Return the key of an assignment such as "optimizer.learning_rate=0.01"."""
    return assignment.partition("=")[0].strip()


def all_settings(options: Mapping[str, object], assignments: list[str]) -> list[str]:
    """Return options and --set assignments as one list of assignments.

    `options` maps keys to values, None for an option that was not given.

    Raises:
        ConfigError: a key is set both by its option and by --set.
    """
    given = {key: str(value) for key, value in options.items() if value is not None}
    assigned = set(map(key_of, assignments))
    if duplicates := sorted(assigned & given.keys()):
        shown = ", ".join(f"{key} (to {given[key]} by its option)" for key in duplicates)
        raise ConfigError(f"set twice: {shown}. Omit the option or --set {duplicates[0]}=.")
    return [*(f"{key}={value}" for key, value in given.items()), *assignments]


def named_recipe(recipe: str) -> "Recipe":
    """Return a recipe of allmlp, or the user's own from a module in the current folder."""
    from allmlp.recipes import load_recipe

    if ":" in recipe and "" not in sys.path:
        sys.path.insert(0, "")  # an installed command does not search the current folder for my_module.py
    return load_recipe(recipe)
