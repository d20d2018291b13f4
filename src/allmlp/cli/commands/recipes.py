"""`allmlp recipes`."""

import inspect
from typing import Annotated

import typer

from allmlp.cli.console import aligned, command_line, next_commands

__all__ = ["recipes"]


def recipes(
    name: Annotated[
        str | None, typer.Argument(metavar="NAME", help="Show all that this recipe claims.", show_default=False)
    ] = None,
) -> None:
    """List the training recipes and what they reached."""
    from allmlp.errors import ConfigError, did_you_mean
    from allmlp.recipes import RECIPES

    if name is None:
        claims = [(key, (inspect.getdoc(recipe) or "").partition("\n")[0]) for key, recipe in RECIPES.items()]
        for line in aligned(claims):
            print(line)
        first = next(iter(RECIPES))
        next_commands(
            [
                (command_line("recipes", first), "the whole claim of a recipe"),
                (command_line("train", "clothing", "--recipe", first, "--print-recipe"), "all its settings"),
            ]
        )
        return
    if name not in RECIPES:
        raise ConfigError(f"There is no recipe {name!r}.{did_you_mean(name, RECIPES)} There are: {', '.join(RECIPES)}.")
    print(inspect.getdoc(RECIPES[name]))
    recipe = RECIPES[name]()
    command = "train" if recipe.transfer.checkpoint is None else "finetune"
    settings = []
    if recipe.num_steps is None and recipe.schedule.warmup_steps is not None:  # more than a small data set makes in all
        settings = ["--set", "schedule.warmup_steps=none"]
    next_commands(
        [
            (
                command_line(command, "clothing", "--recipe", name, *settings),
                "for clothing, put your folder with one sub-folder per class",
            ),
            (command_line(command, "clothing", "--recipe", name, "--print-recipe"), "all its settings"),
        ]
    )
