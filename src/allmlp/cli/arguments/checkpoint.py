"""Checkpoint arguments: loading from any source, at any image size."""

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

__all__ = ["CheckpointArgument", "ImageSizeOption", "image_size_words", "load", "parse_sides"]

CheckpointArgument = Annotated[
    str,
    typer.Argument(
        metavar="CHECKPOINT",
        help="A run or checkpoint folder, a weight file (.npz, .safetensors, .pth), hf:OWNER/NAME, or the name of a "
        "published Mixer (see the models command).",
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
    """Load a checkpoint, at another image size if one is given; notes report each change to it.

    Raises:
        CheckpointError: no usable checkpoint at `source`.
        ConfigError: an invalid image size.
    """
    sides = None if image_size is None else parse_sides(image_size)
    from allmlp.checkpoints import load_for_size
    from allmlp.io.display import discard, escape

    report = note if is_first_process() else discard
    with _download_bar() as report_progress:
        checkpoint = load_for_size(source, sides, report=report, report_progress=report_progress)
    if sides is None or sides == checkpoint.config.image_size:
        return checkpoint
    changed = checkpoint.at_resolution(sides)
    report(escape(changed.source.removeprefix(f"{checkpoint.source}; ")))
    return changed


@contextlib.contextmanager
def _download_bar() -> Iterator[Callable[[int, int], None] | None]:
    """Yield a callback that shows a download on standard error, or None if that is not a terminal."""
    if not (sys.stderr.isatty() and is_first_process()):
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TransferSpeedColumn

    columns = ("Downloading", BarColumn(), DownloadColumn(), TransferSpeedColumn())
    bar = Progress(*columns, console=Console(stderr=True), transient=True)
    task = bar.add_task("", total=None)

    def draw(num_received: int, num_bytes: int) -> None:
        bar.start()  # without effect after the first call
        bar.update(task, completed=num_received, total=num_bytes)

    try:
        yield draw
    finally:
        bar.stop()


def image_size_words(image_size: str | None) -> tuple[str, ...]:
    """Return the --image-size option as the user gave it, for a printed command that uses the same size."""
    return () if image_size is None else ("--image-size", image_size)


def parse_sides(text: str) -> tuple[int, int]:
    """Parse "64" or "64x96" into (height, width).

    Raises:
        ConfigError: any other text.
    """
    sides = re.fullmatch(r"([0-9]{1,9})(?:[x×]([0-9]{1,9}))?", text.strip().lower())
    if sides is None:
        raise ConfigError(f"--image-size {text[:100]!r}: expected pixels such as 64, or HxW such as 64x96.")
    return int(sides[1]), int(sides[2] or sides[1])
