"""The command `allmlp data`."""

from typing import Annotated, Any

import typer

from allmlp.cli.arguments.output_format import Format, FormatOption
from allmlp.cli.console import aligned, command_line, download_bar, heading, next_commands, say
from allmlp.io.display import escape
from allmlp.io.json_object import json_text

__all__ = ["data"]


def data(
    name: Annotated[
        str | None,
        typer.Argument(
            metavar="NAME", help="Show this data set; NAME:FOLDER if it is in another folder.", show_default=False
        ),
    ] = None,
    download: Annotated[bool, typer.Option("--download", help="Download it unless it is present.")] = False,
    output_format: FormatOption = Format.TEXT,
) -> None:
    """List the named data sets, and which of them are on this machine.

    A name can be used as PHOTOS.

    \b
    Examples:
      allmlp data
      allmlp data cifar10 --download
      allmlp train cifar10
    """
    from allmlp.data import DATASETS, download_dataset, is_downloaded, named_folder
    from allmlp.errors import ConfigError, did_you_mean

    is_json = output_format is Format.JSON
    if name is None:
        if download:
            raise ConfigError("--download needs the name of a data set; `allmlp data` lists them.")
        if is_json:
            print(json_text([_facts(key) for key in DATASETS], indent=2))
        else:
            _list_all()
        return
    key = name.partition(":")[0]
    if key not in DATASETS:
        raise ConfigError(
            f"unknown data set {key!r}.{did_you_mean(key, DATASETS)} Expected one of {', '.join(DATASETS)}."
        )
    named, folder = DATASETS[key], named_folder(name)
    if download:
        if not is_json:
            say(f"terms   {named.terms}")
        with download_bar() as report_progress:
            here = download_dataset(name, report_progress=report_progress)
    if is_json:
        print(json_text(_facts(name), indent=2))
        return
    if download:
        say(f"here    {escape(here)}")
    else:
        say(f"{key}: {named.summary}")
        say(f"terms   {named.terms}")
        if named.folder:
            say(f"{'here' if is_downloaded(name) else 'missing':<7} {escape(folder)}")
    download_command = (command_line("data", name, "--download"), f"download {named.size}")
    train_command = (command_line("train", name), "train on it, with a recipe that fits its photos")
    if is_downloaded(name) or named.torchvision_class is not None:
        next_commands([train_command if is_downloaded(name) else download_command])
    else:
        say(f"\n{named.by_hand.format(folder=escape(folder))}.")


def _facts(name: str) -> dict[str, Any]:
    """Return what is known of a data set, NAME or NAME:FOLDER, for programs."""
    from allmlp.data import DATASETS, is_downloaded, named_folder

    named = DATASETS[name.partition(":")[0]]
    return {
        "name": name,
        "is_here": is_downloaded(name),
        "folder": str(named_folder(name)) if named.folder else None,
        "download": named.size or None,
        "can_be_downloaded": named.torchvision_class is not None,
        "summary": named.summary,
        "terms": named.terms,
    }


def _list_all() -> None:
    from allmlp.data import DATASETS, is_downloaded

    titles = ("name", "here", "download", "description")
    rows = [
        (key, "yes" if is_downloaded(key) else "no", named.size or "-", named.summary)
        for key, named in DATASETS.items()
    ]
    lines = aligned([titles, *rows], right=(2,))
    heading(lines[0])
    for line in lines[1:]:
        say(line)
    next_commands([(command_line("data", "cifar10"), "show its terms and its folder")])
