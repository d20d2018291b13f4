"""The command `allmlp recipes`."""

import inspect
from typing import Annotated

import typer

from allmlp.cli.console import aligned, command_line, next_commands, say

__all__ = ["recipes"]


def recipes(
    name: Annotated[
        str | None, typer.Argument(metavar="NAME", help="Show the full description of this recipe.", show_default=False)
    ] = None,
) -> None:
    """List the training recipes, or describe one. Shows its command, expected accuracy, cost and source."""
    from allmlp.errors import ConfigError, did_you_mean
    from allmlp.recipes import RECIPES

    if name is None:
        summaries = [(key, (inspect.getdoc(recipe) or "").partition("\n")[0]) for key, recipe in RECIPES.items()]
        for line in aligned(summaries):
            say(line)
        first = next(iter(RECIPES))
        next_commands(
            [
                (command_line("recipes", first), "show the full description of a recipe"),
                (command_line("train", "clothing", "--recipe", first, "--print-recipe"), "show all its settings"),
            ]
        )
        return
    if name not in RECIPES:
        raise ConfigError(
            f"unknown recipe {name!r}.{did_you_mean(name, RECIPES)} Expected one of {', '.join(RECIPES)}."
        )
    say(inspect.getdoc(RECIPES[name]) or "")
    recipe = RECIPES[name]()
    command = "train" if recipe.transfer.checkpoint is None else "finetune"
    settings = []
    if recipe.num_steps is None and recipe.schedule.warmup_steps is not None:  # more than all steps on a small data set
        settings = ["--set", "schedule.warmup_steps=none"]
    next_commands(
        [
            (
                command_line(command, "clothing", "--recipe", name, *settings),
                "replace clothing with your folder, with one sub-folder per class",
            ),
            (command_line(command, "clothing", "--recipe", name, "--print-recipe"), "show all its settings"),
        ]
    )
