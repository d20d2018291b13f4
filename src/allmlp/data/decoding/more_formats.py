"""Readers of HEIC and AVIF photos, which need the extra "heic", and the list of formats that are read."""

import importlib.util
from io import BytesIO

from PIL.ImageFile import ImageFile

from allmlp.io.file_kinds import FileKind

__all__ = ["INSTALL_HEIC", "has_heic", "is_read", "open_heic_or_avif"]

INSTALL_HEIC = "pip install 'allmlp[heic]'"

_READ = ("JPEG", "PNG", "TIFF", "BMP", "WebP", "GIF")
_READ_WITH_EXTRA = ("HEIC", "AVIF")


def has_heic() -> bool:
    """Return whether the extra is installed. Without it, neither format is opened: their codecs are large."""
    return importlib.util.find_spec("pillow_heif") is not None


def is_read(photo_format: str) -> bool:
    """Return whether photos of this format of `PHOTO_EXTENSIONS` can be decoded here."""
    return photo_format in _READ or (photo_format in _READ_WITH_EXTRA and has_heic())


def open_heic_or_avif(kind: FileKind, file: BytesIO) -> ImageFile:
    """Open a photo without decoding its pixels. `has_heic()` must be true."""
    if kind is FileKind.AVIF:
        from PIL.AvifImagePlugin import AvifImageFile

        return AvifImageFile(file)
    from pillow_heif import HeifImageFile

    photo: ImageFile = HeifImageFile(file)
    return photo
