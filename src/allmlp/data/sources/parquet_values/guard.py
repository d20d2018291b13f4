"""Why a Parquet file could not be read: its content, or a lack of memory, threads or permission."""

from allmlp.io.display import escape, shorten

__all__ = ["RefusedError", "is_damage", "reason_of"]


class RefusedError(ValueError):
    """A file that may be whole, but exceeds a limit, or uses a feature of the format that is not supported."""


def is_damage(error: Exception) -> bool:
    """Return whether the file is damaged, so that another copy may help; otherwise it is refused, or the system fails."""
    return not isinstance(error, MemoryError | RefusedError) and not (isinstance(error, OSError) and error.errno)


def reason_of(error: Exception) -> str:
    """Return the reason of an error, on one short line without a full stop."""
    if isinstance(error, MemoryError):
        return "there is not enough memory"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    if isinstance(error, LookupError):
        return "a page is damaged or cut short"
    return shorten(escape(" ".join(str(error).split()).rstrip(".")), 300)
