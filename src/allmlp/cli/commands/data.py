"""The command `allmlp data`."""

from typing import Annotated

import typer

from allmlp.cli.console import aligned, command_line, download_bar, heading, next_commands, say
from allmlp.io.display import escape

__all__ = ["data"]


def data(
    name: Annotated[
        str | None,
        typer.Argument(
            metavar="NAME", help="Show this data set; NAME:FOLDER if it is in another folder.", show_default=False
        ),
    ] = None,
    download: Annotated[bool, typer.Option("--download", help="Download it unless it is present.")] = False,
) -> None:
    """List the named data sets, and which of them are on this machine.

    A name can be used as DATA: `allmlp train cifar10`.
    """
    from allmlp.data import DATASETS, download_dataset, is_downloaded, named_folder
    from allmlp.errors import ConfigError, did_you_mean

    if name is None:
        if download:
            raise ConfigError("--download needs the name of a data set; `allmlp data` lists them.")
        _list_all()
        return
    key = name.partition(":")[0]
    if key not in DATASETS:
        raise ConfigError(
            f"unknown data set {key!r}.{did_you_mean(key, DATASETS)} Expected one of {', '.join(DATASETS)}."
        )
    named, folder = DATASETS[key], named_folder(name)
    if download:
        say(f"terms   {named.terms}")
        with download_bar() as report_progress:
            here = download_dataset(name, report_progress=report_progress)
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
