"""Small versions of photos, as encoded images."""

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image

__all__ = ["encode_thumbnail", "thumbnail_kind"]

_LOSSLESS_SIDE = 64
_PNG_SIGNATURE = b"\x89PNG"


def encode_thumbnail(pixels: NDArray[np.uint8], *, side: int, quality: int = 90) -> bytes:
    """Reduce a photo (H, W, 3) to at most `side` pixels on each side, and encode it as JPEG.

    Sides of at most 64 pixels become PNG: a page enlarges them, which would show JPEG artefacts.
    """
    image = Image.fromarray(np.ascontiguousarray(pixels, dtype=np.uint8))
    image.thumbnail((side, side), Image.Resampling.LANCZOS)
    file = io.BytesIO()
    if max(image.size) <= _LOSSLESS_SIDE:
        image.save(file, format="PNG", optimize=True)
    else:
        image.save(file, format="JPEG", quality=quality, subsampling=0)
    return file.getvalue()


def thumbnail_kind(content: bytes) -> str:
    """Return "png" or "jpeg", the kind of an encoded thumbnail."""
    return "png" if content.startswith(_PNG_SIGNATURE) else "jpeg"
