"""Options that say how the folders of a data set are read: which are splits, and which are classes."""

from typing import Annotated, Any

import typer

from allmlp.errors import ConfigError

__all__ = ["ClassesFromOption", "SplitFoldersOption", "folder_options"]

ClassesFromOption = Annotated[
    str | None,
    typer.Option(
        metavar="FOLDER",
        help="The folder in the data whose sub-folders are the classes, whatever their names; . is the top folder.",
        show_default="found from the folders",
    ),
]
SplitFoldersOption = Annotated[
    str | None,
    typer.Option(
        metavar="SPLIT=FOLDER,...",
        help="The folders in the data that are the splits, such as train=Training,test=Testing.",
        show_default="found from the folders",
    ),
]


def folder_options(classes_from: str | None, split_folders: str | None) -> dict[str, Any]:
    """Return the given options as arguments of `open_dataset`.

    Raises:
        ConfigError: --split-folders is not of the form SPLIT=FOLDER,SPLIT=FOLDER, or names a split twice.
    """
    options: dict[str, Any] = {} if classes_from is None else {"classes_from": classes_from}
    if split_folders is not None:
        pairs = [pair.partition("=") for pair in split_folders.split(",")]
        folders = {split.strip(): folder for split, _, folder in pairs if split.strip() and folder}
        if len(folders) < len(pairs):
            raise ConfigError(
                f"--split-folders {split_folders[:200]!r}: expected each split once with its folder, such as "
                "train=Training,test=Testing."
            )
        options["split_folders"] = folders
    return options
