"""Readers of HEIC and AVIF photos, which need the extra "heic", and which kinds of photos are read here."""

import importlib.util
from io import BytesIO

from PIL.ImageFile import ImageFile

from allmlp.io.file_kinds import PHOTO_KINDS, FileKind

__all__ = ["HEIC_KINDS", "INSTALL_HEIC", "has_heic", "is_read", "open_heic_or_avif"]

INSTALL_HEIC = "pip install 'allmlp[heic]'"

HEIC_KINDS = (FileKind.HEIC, FileKind.AVIF)
"""The kinds of photos that are read with the extra only."""


def has_heic() -> bool:
    """Return whether the extra is installed. Without it, neither format is opened: their codecs are large."""
    return importlib.util.find_spec("pillow_heif") is not None


def is_read(kind: FileKind | None) -> bool:
    """Return whether files of this kind are photos that can be decoded here."""
    return kind in PHOTO_KINDS or (kind in HEIC_KINDS and has_heic())


def open_heic_or_avif(kind: FileKind, file: BytesIO) -> ImageFile:
    """Open a photo without decoding its pixels. `has_heic()` must be true."""
    if kind is FileKind.AVIF:
        from PIL.AvifImagePlugin import AvifImageFile

        return AvifImageFile(file)
    from pillow_heif import HeifImageFile

    photo: ImageFile = HeifImageFile(file)
    return photo
