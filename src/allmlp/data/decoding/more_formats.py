"""Readers of HEIC and AVIF photos, which the extra "heic" brings."""

import importlib.util
from collections.abc import Callable
from io import BytesIO

from PIL.ImageFile import ImageFile

from allmlp.io.file_kinds import FileKind

__all__ = ["INSTALL_HEIC", "has_heic", "open_heic_or_avif"]

INSTALL_HEIC = "pip install 'allmlp[heic]'"


def has_heic() -> bool:
    """Return whether the extra is installed. Without it, neither format is opened: their codecs are large."""
    return importlib.util.find_spec("pillow_heif") is not None


def open_heic_or_avif(kind: FileKind, file: BytesIO) -> ImageFile:
    """Open a photo without decoding its pixels. `has_heic()` must be true."""
    reader: Callable[[BytesIO], ImageFile]
    if kind is FileKind.AVIF:
        from PIL.AvifImagePlugin import AvifImageFile as reader  # noqa: N813
    else:
        from pillow_heif import HeifImageFile as reader  # noqa: N813
    return reader(file)
