"""The command `allmlp recipes`."""

import inspect
from typing import Annotated, Any, Literal

import typer

from allmlp.cli.arguments.output_format import Format, FormatOption
from allmlp.cli.console import aligned, command_line, heading, next_commands, say
from allmlp.errors import ConfigError, did_you_mean
from allmlp.io.json_object import json_text

__all__ = ["recipes"]


def recipes(
    name: Annotated[
        str | None, typer.Argument(metavar="NAME", help="Show the full description of this recipe.", show_default=False)
    ] = None,
    against: Annotated[
        Literal["authors"] | None,
        typer.Option(
            help="Show what differs from the settings of the paper's authors, and why: of all their recipes if none is named.",
            show_default=False,
        ),
    ] = None,
    output_format: FormatOption = Format.TEXT,
) -> None:
    """List the training recipes, or describe one. Shows its command, expected accuracy, cost and source.

    \b
    Examples:
      allmlp recipes imagenet_b16
      allmlp recipes imagenet_b16 --against authors
      allmlp recipes --against authors
    """
    from allmlp.recipes import RECIPES

    if name is not None and name not in RECIPES:
        raise ConfigError(
            f"unknown recipe {name!r}.{did_you_mean(name, RECIPES)} Expected one of {', '.join(RECIPES)}."
        )
    if against is not None:
        _compare_with_authors(name, output_format)
    elif output_format is Format.JSON:
        print(json_text(_facts() if name is None else _facts_of(name), indent=2))
    elif name is None:
        _list()
    else:
        _describe(name)


def _facts() -> list[dict[str, Any]]:
    from allmlp.recipes import RECIPES

    return [{"name": name, "summary": _text(name).partition("\n")[0]} for name in RECIPES]


def _facts_of(name: str) -> dict[str, Any]:
    from allmlp.config import to_dict
    from allmlp.recipes import RECIPES

    return {"name": name, "description": _text(name), "settings": to_dict(RECIPES[name]())}


def _text(name: str) -> str:
    from allmlp.recipes import RECIPES

    return inspect.getdoc(RECIPES[name]) or ""


def _compare_with_authors(name: str | None, output_format: Format) -> None:
    """Print every difference between a recipe and the authors' settings; without a name, all, and what they apply to."""
    from allmlp.config import to_dict
    from allmlp.recipes import DEVIATIONS, deviations_of

    deviations = [to_dict(deviation) for deviation in (DEVIATIONS if name is None else deviations_of(name))]
    if name is not None:
        for deviation in deviations:
            del deviation["applies_to"]
    if output_format is Format.JSON:
        print(json_text(deviations, indent=2))
        return
    say("Every known difference to the authors' settings:")
    labels = {"ours": "ours", "authors": "the authors'", "why": "why", "source": "source"}
    for deviation in deviations:
        say()
        heading(deviation["setting"])
        rows = [(f"  {label}", deviation[key]) for key, label in labels.items()]
        if name is None:
            rows.append(("  in", ", ".join(deviation["applies_to"])))
        for line in aligned(rows):
            say(line)
    if name is None:
        first = command_line("recipes", deviations[0]["applies_to"][0], "--against", "authors")
        next_commands([(first, "show those of one recipe")])
    else:
        next_commands([(command_line("recipes", name), "show the full description of this recipe")])


def _list() -> None:
    from allmlp.recipes import RECIPES

    for line in aligned([(fact["name"], fact["summary"]) for fact in _facts()]):
        say(line)
    first = next(iter(RECIPES))
    next_commands(
        [
            (command_line("recipes", first), "show the full description of a recipe"),
            (command_line("train", "clothing", "--recipe", first, "--print-recipe"), "show all its settings"),
        ]
    )


def _describe(name: str) -> None:
    from allmlp.recipes import DEVIATIONS, RECIPES

    say(_text(name))
    recipe = RECIPES[name]()
    command = "train" if recipe.transfer.checkpoint is None else "finetune"
    settings = []
    if recipe.num_steps is None and recipe.schedule.warmup_steps is not None:  # more than all steps on a small data set
        settings = ["--set", "schedule.warmup_steps=none"]
    commands = [
        (
            command_line(command, "clothing", "--recipe", name, *settings),
            "replace clothing with your folder, with one sub-folder per class",
        ),
        (command_line(command, "clothing", "--recipe", name, "--print-recipe"), "show all its settings"),
    ]
    if any(name in deviation.applies_to for deviation in DEVIATIONS):
        comparison = command_line("recipes", name, "--against", "authors")
        commands.append((comparison, "show what differs from the authors' settings"))
    next_commands(commands)
