"""Why a photo cannot be used, in our own words."""

from typing import Literal

from PIL.Image import DecompressionBombError

from allmlp.errors import DataError, shortage
from allmlp.io.display import escape

__all__ = [
    "PhotoError",
    "PhotoFault",
    "ShortageError",
    "UnusablePhotoError",
    "advice_of",
    "decoding_reason",
    "fault_of",
    "problem_of",
    "raise_shortage",
]

PhotoFault = Literal["format", "limit", "damaged"]
"""The kind of a photo's problem: "format" (a file, or a variant of a format, that is not read), "limit" (a size or a number of
parts beyond the limits), or "damaged" (anything else, such as missing data)."""

# Pillow's words.
_UNSUPPORTED = ("unsupported", "unknown pixel mode", "unknown data organization", "cannot handle")
_TOO_MUCH_TEXT = ("decompressed data too large", "too much memory used in text chunks")


class UnusablePhotoError(ValueError):
    """A photo that cannot be used; the message is the reason, for users. `decode` adds the name of the file.

    Attributes:
        advice: what to do, as a sentence without its full stop; None if the file can only be replaced.
        fault: the kind of the problem.
    """

    def __init__(self, reason: str, *, advice: str | None = None, fault: PhotoFault = "damaged") -> None:
        super().__init__(reason)
        self.advice = advice
        self.fault: PhotoFault = fault


class PhotoError(DataError):
    """A photo that cannot be decoded.

    Attributes:
        problem: the reason for lists of photos, without the name, and without the advice that holds for every photo.
        reason: the same without any advice, which is for the owner of this machine.
        fault: the kind of the problem.
    """

    def __init__(
        self, message: str, *, problem: str | None = None, reason: str | None = None, fault: PhotoFault = "damaged"
    ) -> None:
        super().__init__(message)
        self.problem = message if problem is None else problem
        self.reason = self.problem if reason is None else reason
        self.fault: PhotoFault = fault


class ShortageError(PhotoError):
    """A photo that was not read because the machine lacks memory or open files, or its disk or network does not answer.

    It may be whole, and is never left out. So is one whose shard is at an address, and could not be downloaded or was lost from
    the cache.
    """


def raise_shortage(error: Exception, *, where: str) -> None:
    """Raise ShortageError with `where` the photo is if `error` is a lack of memory, threads, open files or the disk."""
    if lacking := shortage(error):
        problem = f"this photo cannot be read: {lacking}."
        raise ShortageError(f"{where}: {problem}", problem=problem) from error


def problem_of(error: DataError, where: str) -> str:
    """Return why a photo cannot be read or decoded, without `where` it is, which starts the message."""
    return error.problem if isinstance(error, PhotoError) else str(error).removeprefix(f"{where}: ")


def decoding_reason(error: Exception) -> str:
    """Return the reason for users; what a decoder's own error says is for its programmers ("decoder error -2")."""
    if isinstance(error, UnusablePhotoError):
        return escape(error)
    if lacking := shortage(error):
        return lacking
    if isinstance(error, DecompressionBombError):
        return "it has more pixels than its decoder reads"
    if str(error).lower().startswith(_TOO_MUCH_TEXT):
        return "its comments unpack to more text than its decoder reads"
    if isinstance(error, EOFError) or "truncated" in str(error):
        return "the file is cut short"
    if str(error).lower().startswith(_UNSUPPORTED):
        return "the file is damaged, or of a variant of its format that is not read"
    return "the file is damaged"


def fault_of(error: Exception) -> PhotoFault:
    """Return the kind of a problem. What Pillow calls unsupported counts as damage, for either leads to it."""
    if isinstance(error, UnusablePhotoError):
        return error.fault
    is_large = isinstance(error, DecompressionBombError) or str(error).lower().startswith(_TOO_MUCH_TEXT)
    return "limit" if is_large else "damaged"


def advice_of(error: Exception, otherwise: str) -> str:
    """Return what to do: the error's own advice, or else the given one."""
    return (error.advice if isinstance(error, UnusablePhotoError) else None) or otherwise
