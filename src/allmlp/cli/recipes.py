"""`allmlp recipes`."""

import inspect
from typing import Annotated

import typer

from allmlp.cli.console import aligned, command_line, next_commands

__all__ = ["recipes"]


def recipes(
    name: Annotated[str | None, typer.Argument(help="Show all that this recipe claims.", show_default=False)] = None,
) -> None:
    """List the training recipes and what they reached."""
    from allmlp.errors import ConfigError, did_you_mean
    from allmlp.recipes import RECIPES

    if name is None:
        claims = [(key, (inspect.getdoc(recipe) or "").partition("\n")[0]) for key, recipe in RECIPES.items()]
        for line in aligned(claims):
            print(line)
        next_commands(
            [
                (command_line("recipes", next(iter(RECIPES))), "the whole claim of a recipe"),
                (f"{command_line('train')} PHOTOS --recipe NAME --print-recipe", "all its settings"),
            ]
        )
        return
    if name not in RECIPES:
        raise ConfigError(f"There is no recipe {name!r}.{did_you_mean(name, RECIPES)} There are: {', '.join(RECIPES)}.")
    print(inspect.getdoc(RECIPES[name]))
    next_commands([(f"{command_line('train')} PHOTOS --recipe {name}", "PHOTOS: a folder with a sub-folder a class")])
