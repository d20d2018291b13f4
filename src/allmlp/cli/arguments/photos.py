"""Photo arguments: files, folders, and one photo on standard input."""

import glob
import itertools
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from allmlp.cli.console import note
from allmlp.errors import ConfigError, DataError
from allmlp.io.display import escape, shorten
from allmlp.io.path_problem import is_pattern, path_advice, paths_matching
from allmlp.io.remote_address import is_remote

if TYPE_CHECKING:
    from allmlp.inference import Photo

__all__ = [
    "STANDARD_INPUT",
    "MaxMegapixelsOption",
    "PhotosArgument",
    "check_sources",
    "find_photos",
    "is_in_tar",
    "limit_photos",
    "shown_sources",
    "source_paths",
]

_MAX_SHOWN_SOURCES = 3

STANDARD_INPUT = "-"
PhotosArgument = Annotated[
    list[str],
    typer.Argument(
        metavar="FILES|FOLDERS|-",
        help="Photos, folders that are searched recursively, tar shards (also at an address such as s3://bucket/flowers/), or "
        "quoted patterns such as 'photos/**/*.jpg'; - reads one photo from standard input.",
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


def is_in_tar(photo: "Photo") -> bool:
    """Return whether a photo is in a tar shard, and so is not a file that can be copied."""
    from allmlp.inference import StoredPhoto

    return isinstance(photo, StoredPhoto)


def shown_sources(sources: Sequence[str]) -> Sequence[str]:
    """Return the arguments for a printed command: the word PHOTOS in place of more than three."""
    return sources if len(sources) <= _MAX_SHOWN_SOURCES else ["PHOTOS"]


def source_paths(sources: Sequence[str]) -> list[str]:
    """Return the files and folders that the arguments stand for; for a pattern with "**", the folder that it searches."""
    return [_searched_folder(source) if "**" in source and is_pattern(source) else source for source in sources]


def _searched_folder(pattern: str) -> str:
    return str(Path(*itertools.takewhile(lambda part: not glob.has_magic(part), Path(pattern).parts)))


def find_photos(sources: Sequence[str]) -> "tuple[list[tuple[str, Photo]], int]":
    """Return all photos with their names, sorted within each folder or pattern, and the number of sources that failed.

    The reason of each failure is reported.
    """
    photos: list[tuple[str, Photo]] = []
    num_failed = 0
    for source in sources:
        try:
            if len(sources) == 1:
                _check_present(source)
            paths = paths_matching(source) if is_pattern(source) and not is_remote(source) else [source]
        except DataError as error:
            num_failed += 1
            note(f"allmlp: {error}")
            continue
        for path in paths:
            try:
                photos += _photos_of(path)
            except DataError as error:
                num_failed += 1
                note(f"allmlp: {error}")
    return photos, num_failed


def _check_present(source: str) -> None:
    """Raise DataError with a hint if a source is missing that looks like an existing one; others fail when they are read."""
    if source == STANDARD_INPUT or is_remote(source) or is_pattern(source) or os.path.lexists(source):
        return
    if advice := path_advice(source):
        raise DataError(f"{shorten(escape(source), 300)}: there is no such file or folder. {advice}")


def _photos_of(source: str) -> "list[tuple[str, Photo]]":
    if source == STANDARD_INPUT:
        return [(source, (source, _standard_input()))]
    if stored := _stored_photos(source):
        return stored
    if os.path.isdir(source):  # noqa: PTH112 - Path.is_dir raises if a name is too long or inaccessible
        from allmlp.inference import photos_in_folder

        return [(path, path) for path in photos_in_folder(Path(source), report=lambda line: note(f"allmlp: {line}"))]
    return [(source, source)]


def _stored_photos(source: str) -> "list[tuple[str, Photo]]":
    """Return the photos of a tar file, a folder of tar shards or an address of one; [] if the source is none of these."""
    if not (source.lower().endswith(".tar") or is_remote(source) or os.path.isdir(source)):  # noqa: PTH112
        return []
    from allmlp.data import stored_photos
    from allmlp.inference import StoredPhoto

    photos = stored_photos(source) or ()
    return [(photo.name, StoredPhoto(photo.name, photo.read)) for photo in photos]


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
