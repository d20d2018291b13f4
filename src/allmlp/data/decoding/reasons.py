"""Why a photo cannot be used, in our own words."""

from PIL.Image import DecompressionBombError

from allmlp.io.display import escape

__all__ = ["UnusablePhotoError", "reason_of"]


class UnusablePhotoError(ValueError):
    """A photo that cannot be used; the message is the reason, for users. `decode` adds the name of the file."""


def reason_of(error: Exception) -> str:
    """Return the reason for users; what a decoder's own error says is for its programmers ("decoder error -2")."""
    if isinstance(error, UnusablePhotoError):
        return escape(error)
    if isinstance(error, MemoryError):
        return "there was not enough memory to decode it"
    if isinstance(error, DecompressionBombError):
        return "it has more pixels than its decoder reads"
    if isinstance(error, EOFError) or "truncated" in str(error):
        return "the file is cut short"
    return "the file is damaged"
