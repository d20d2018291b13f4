"""Checkpoints as commands take them: from anywhere, at any image size."""

import contextlib
import re
import sys
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from allmlp.cli.console import is_first_process, note
from allmlp.errors import ConfigError

if TYPE_CHECKING:
    from allmlp.checkpoints import Checkpoint

__all__ = ["CheckpointArgument", "ImageSizeOption", "load", "parse_sides", "size_words"]

CheckpointArgument = Annotated[
    str,
    typer.Argument(
        metavar="CHECKPOINT",
        help="A run or checkpoint folder, a file of weights (.npz, .safetensors, .pth), hf:OWNER/NAME, or a name of "
        "`allmlp models`.",
        show_default=False,
    ),
]
ImageSizeOption = Annotated[
    str | None,
    typer.Option(
        metavar="N|HxW", help="Use the Mixer at another image size, in pixels.", show_default="the checkpoint's"
    ),
]


def load(source: str, image_size: str | None = None) -> "Checkpoint":
    """Load a checkpoint, at another image size when one is given; notes say what was done to it.

    Raises:
        CheckpointError: nothing usable at `source`.
        ConfigError: an invalid image size.
    """
    sides = None if image_size is None else parse_sides(image_size)
    from allmlp.checkpoints import load_for_size
    from allmlp.io.display import escape

    report = note if is_first_process() else _ignore
    with _download_bar() as report_progress:
        checkpoint = load_for_size(source, sides, report=report, report_progress=report_progress)
    if sides is None or sides == checkpoint.config.image_size:
        return checkpoint
    changed = checkpoint.at_resolution(sides)
    report(escape(changed.source.removeprefix(f"{checkpoint.source}; ")))
    return changed


def _ignore(line: str) -> None:
    """Report nothing: of the processes that torchrun started, only the first one speaks."""


@contextlib.contextmanager
def _download_bar() -> Iterator[Callable[[int, int], None] | None]:
    """Draw a download on standard error where that is a terminal; nothing where none happens."""
    if not (sys.stderr.isatty() and is_first_process()):
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TransferSpeedColumn

    columns = ("Downloading", BarColumn(), DownloadColumn(), TransferSpeedColumn())
    bar = Progress(*columns, console=Console(stderr=True), transient=True)
    task = bar.add_task("", total=None)

    def draw(done: int, total: int) -> None:
        bar.start()  # no effect but for the first time
        bar.update(task, completed=done, total=total)

    try:
        yield draw
    finally:
        bar.stop()


def size_words(image_size: str | None) -> tuple[str, ...]:
    """Return --image-size as it was given, for a command that is printed to go on at the same size."""
    return () if image_size is None else ("--image-size", image_size)


def parse_sides(text: str) -> tuple[int, int]:
    """Return (height, width) of "64" or "64x96".

    Raises:
        ConfigError: anything else.
    """
    sides = re.fullmatch(r"([0-9]{1,9})(?:[x×]([0-9]{1,9}))?", text.strip().lower())
    if sides is None:
        raise ConfigError(f"--image-size {text[:100]!r}: expected pixels such as 64, or HxW such as 64x96.")
    return int(sides[1]), int(sides[2] or sides[1])
