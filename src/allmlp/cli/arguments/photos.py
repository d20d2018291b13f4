"""Photo arguments: files, folders, and one photo on standard input."""

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from allmlp.cli.console import note
from allmlp.errors import ConfigError, DataError

if TYPE_CHECKING:
    from allmlp.inference import Photo

__all__ = [
    "STANDARD_INPUT",
    "MaxMegapixelsOption",
    "PhotosArgument",
    "check_sources",
    "find_photos",
    "limit_photos",
]

STANDARD_INPUT = "-"
PhotosArgument = Annotated[
    list[str],
    typer.Argument(
        metavar="FILES|FOLDERS|-",
        help="Photos, or folders that are searched recursively; - reads one photo from standard input.",
        show_default=False,
    ),
]
MaxMegapixelsOption = Annotated[
    int | None,
    typer.Option(
        metavar="N",
        help="Largest photo, in millions of pixels [default: 50]. Memory and time to decode grow with it.",
        show_default=False,
    ),
]


def limit_photos(max_megapixels: int | None) -> None:
    """Set the largest size of a photo; None means the default.

    Raises:
        ConfigError: the size is out of range.
    """
    from allmlp.data import DEFAULT_MAX_MEGAPIXELS, set_max_megapixels

    set_max_megapixels(DEFAULT_MAX_MEGAPIXELS if max_megapixels is None else max_megapixels)


def check_sources(sources: Sequence[str]) -> None:
    """Check the arguments before anything is read.

    Raises:
        ConfigError: standard input is given more than once.
    """
    if sources.count(STANDARD_INPUT) > 1:
        raise ConfigError("- is one photo on standard input, but was given more than once.")


def find_photos(sources: Sequence[str]) -> "tuple[list[tuple[str, Photo]], int]":
    """Return all photos with their names, sorted within each folder, and the number of sources that failed.

    The reason of each failure is reported.
    """
    photos: list[tuple[str, Photo]] = []
    num_failed = 0
    for source in sources:
        try:
            if source == STANDARD_INPUT:
                photos.append((source, (source, _standard_input())))
            elif os.path.isdir(source):  # noqa: PTH112 - Path.is_dir raises if a name is too long or inaccessible
                photos += [(path, path) for path in _photos_in(Path(source))]
            else:
                photos.append((source, source))
        except DataError as error:
            num_failed += 1
            note(f"allmlp: {error}")
    return photos, num_failed


def _photos_in(folder: Path) -> list[str]:
    from allmlp.data import list_folder, unnamed_photos, unread_photos
    from allmlp.io.display import escape

    listing = list_folder(folder)
    for path, reason in listing.skipped:
        note(f"allmlp: {escape(folder / path)}: skipped: {reason}.")
    # The decoder says why it does not read a format.
    photos = listing.photos + unread_photos(listing) + unnamed_photos(folder, listing)
    if not photos:
        raise DataError(f"{escape(folder)}: no photos in this folder.")
    return sorted(str(folder / path) for path in photos)


def _standard_input() -> bytes:
    """Read at most one byte more than a photo may hold, from which the decoder recognises a photo that is too large."""
    from allmlp.data import MAX_PHOTO_BYTES

    if sys.stdin is None:
        raise DataError(
            f"{STANDARD_INPUT}: standard input is closed. Redirect a photo to it: allmlp predict ... - < PHOTO."
        )
    try:
        return sys.stdin.buffer.read(MAX_PHOTO_BYTES + 1)
    except OSError as error:  # a folder, or open only for writing
        raise DataError(f"{STANDARD_INPUT}: standard input cannot be read ({error.strerror or error}).") from error
