"""Why a Parquet file could not be read: its content, or a lack of memory, threads or permission."""

from allmlp.errors import shortage
from allmlp.io.display import escape, shorten

__all__ = ["RefusedError", "is_damage", "parquet_reason"]


class RefusedError(ValueError):
    """A file that may be whole, but exceeds a limit, or uses a feature of the format that is not supported."""


def is_damage(error: Exception) -> bool:
    """Return whether the file is damaged, so that another copy may help; otherwise it is refused, or the system fails."""
    is_refused = isinstance(error, RefusedError) or (isinstance(error, OSError) and error.errno)
    return not is_refused and not shortage(error)


def parquet_reason(error: Exception) -> str:
    """Return the reason of an error, on one short line without a full stop."""
    if lacking := shortage(error):
        return lacking
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    if isinstance(error, LookupError):
        return "a page is damaged or cut short"
    return shorten(escape(" ".join(str(error).split()).rstrip(".")), 300)
