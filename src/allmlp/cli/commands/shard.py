"""The command `allmlp shard`."""

from typing import Annotated

import typer

from allmlp.cli.arguments.folder_options import ClassesFromOption, SplitFoldersOption, folder_options
from allmlp.cli.arguments.output_path import new_output_path
from allmlp.cli.arguments.recipe import PHOTOS_HELP
from allmlp.cli.console import command_line, next_commands, note, say
from allmlp.cli.progress import photo_bar

__all__ = ["shard"]


def shard(
    data: Annotated[str, typer.Argument(metavar="PHOTOS", help=PHOTOS_HELP, show_default=False)],
    destination: Annotated[str, typer.Argument(metavar="DIR", help="A new folder for the shards.", show_default=False)],
    shard_mb: Annotated[
        int, typer.Option(metavar="N", min=1, max=1_000_000, help="Largest size of a shard, in millions of bytes.")
    ] = 512,
    classes_from: ClassesFromOption = None,
    split_folders: SplitFoldersOption = None,
) -> None:
    """Write photos as WebDataset tar shards, a few large files.

    \b
    Examples:
      allmlp shard PHOTOS shards
      allmlp train shards

    A run on the shards has the same losses, bit for bit, as one on PHOTOS. An interrupted command leaves no shards; start it
    again. Your photos are never changed.
    """
    options = folder_options(classes_from, split_folders)
    folder = new_output_path(destination, is_folder=True, name="DIR", example="shards")
    from allmlp.data import open_dataset, write_shards
    from allmlp.io.atomic_write import leftovers
    from allmlp.io.display import counted, escape, file_size

    for path in leftovers(folder.absolute().parent, prefix=folder.name):
        if path.name.startswith(f".{folder.name}."):
            note(
                f"note: {escape(path)} is left over from an interrupted command; delete it if no other command is writing it."
            )
    dataset = open_dataset(data, **options)
    for line in dataset.notes:
        note(f"note: {line}")
    with photo_bar() as progress:
        written = write_shards(dataset, folder, shard_bytes=shard_mb * 1_000_000, progress=progress)
    num_photos = sum(each.num_photos for each in written.shards)
    for name, split in dataset.splits.items():
        names = [each.name for each in written.shards if each.name.startswith(f"{name}-")]
        shown = names[0] if len(names) == 1 else f"{names[0]} to {names[-1]}"
        say(f"{name:<11} {len(split):>9,} photos   {shown}")
    total = f"{counted(len(written.shards), 'shard')}, {counted(num_photos, 'photo')}, {file_size(written.num_bytes)}"
    say(f"wrote   {escape(folder)} ({total})")
    next_commands(
        [
            (command_line("train", folder), "train on the shards; the first command that reads them indexes them"),
            (command_line("check", folder), "check all photos first"),
        ]
    )
