"""Recipe options: `--set` and its short forms, collected into assignments."""

import sys
from typing import Annotated

import typer

__all__ = [
    "PHOTOS_HELP",
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
    "TeacherOption",
    "TrainBatchSizeOption",
    "search_current_folder",
]

PHOTOS_HELP = (
    "A folder with one sub-folder per class, a zip of one, Parquet, tar shards (also at an address such as "
    "s3://bucket/flowers/), CSV, or a public data set (see the data command)."
)

SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Change a setting of the recipe; may be repeated."),
]
EpochsOption = Annotated[
    int | None,
    typer.Option(metavar="N", help="How often the run sees every training photo.", show_default="the recipe's"),
]
TrainBatchSizeOption = Annotated[
    int | None, typer.Option(metavar="N", help="Photos per training step.", show_default="the recipe's")
]
SeedOption = Annotated[
    int | None,
    typer.Option(
        metavar="N",
        help="Decides everything random: initial weights, order, augmentation, and which photos are held out.",
        show_default="the recipe's",
    ),
]
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
TeacherOption = Annotated[
    str | None,
    typer.Option(
        "--teacher",
        metavar="CHECKPOINT",
        help="A trained, larger Mixer or its export that knows the classes: learn from its answers as well as from the labels.",
        show_default=False,
    ),
]
BalanceOption = Annotated[
    bool,
    typer.Option("--balance", help="Show every class equally often, however few its photos."),
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
        help="Print the recipe for PHOTOS as JSON and exit; the number of classes is set when training starts.",
    ),
]


def search_current_folder(recipe: str | None) -> None:
    """Let a recipe of the user's own, "my_module:my_recipe", be found in the current folder.

    An installed command does not search it by itself.
    """
    if recipe is not None and ":" in recipe and "" not in sys.path:
        sys.path.insert(0, "")
