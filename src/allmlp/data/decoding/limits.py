"""Limits of photos, and the share of memory that photos being decoded at the same time may take.

All sizes are checked from the header, before pixels are allocated. The number of pixels is the only limit that can be changed.
"""

import contextlib
import threading
from collections.abc import Iterator

from allmlp.data.decoding.reasons import UnusablePhotoError
from allmlp.errors import ConfigError
from allmlp.io.display import quote

__all__ = [
    "DEFAULT_MAX_MEGAPIXELS",
    "MAX_PHOTO_BYTES",
    "MAX_SIDE",
    "check_size",
    "max_megapixels_words",
    "max_pixels",
    "reserve_pixels",
    "set_max_megapixels",
]

DEFAULT_MAX_MEGAPIXELS = 50  # above the default of every phone
MAX_PHOTO_BYTES = 200_000_000  # an uncompressed RGBA photo of 50 megapixels
MAX_SIDE = 65_535  # the maximum of JPEG
_MAX_MEGAPIXELS = 4_000  # the maximum of JPEG is 65,535 x 65,535

# Decoding takes 5 to 11 bytes of memory per pixel, and 17 for a WebP, which counts twice; so photos being decoded at the same
# time take up to about 1 GB.
_PIXELS_AT_ONCE = 100_000_000

_pixels_allowed = DEFAULT_MAX_MEGAPIXELS * 1_000_000
_pixels_in_use = 0
_released = threading.Condition()


def max_pixels() -> int:
    """Return the largest number of pixels that a photo may have."""
    return _pixels_allowed


def max_megapixels_words() -> list[str]:
    """Return the option that sets the present limit in a command; [] for the default."""
    megapixels = _pixels_allowed // 1_000_000
    return [] if megapixels == DEFAULT_MAX_MEGAPIXELS else ["--max-megapixels", str(megapixels)]


def set_max_megapixels(megapixels: int) -> None:
    """Set the largest size of a photo, in millions of pixels, for this process; 50 by default.

    Each megapixel takes up to 12 MB of memory, 18 MB in a WebP, and 50 ms while a photo is decoded.

    Raises:
        ConfigError: not an integer from 1 to 4000.
    """
    global _pixels_allowed
    if not isinstance(megapixels, int) or not 1 <= megapixels <= _MAX_MEGAPIXELS:
        raise ConfigError(f"max_megapixels is {quote(megapixels)}; expected an integer from 1 to {_MAX_MEGAPIXELS:,}.")
    _pixels_allowed = megapixels * 1_000_000


def check_size(size: tuple[int, int]) -> None:
    """Check (width, height) against the limits. Raises UnusablePhotoError."""
    width, height = size
    if width < 1 or height < 1:
        raise UnusablePhotoError(f"its size is {width} x {height} pixels", fault="limit")
    if max(size) > MAX_SIDE:
        raise UnusablePhotoError(
            f"it has {width} x {height} pixels; the limit is {_pixels_allowed:,} in total and {MAX_SIDE:,} per side",
            fault="limit",
        )
    if width * height > _pixels_allowed:
        raise UnusablePhotoError(
            f"it has {width} x {height} pixels; the limit is {_pixels_allowed:,}",
            advice=f"If you trust it, raise the limit: --max-megapixels {-(-width * height // 1_000_000)}, or "
            "allmlp.data.set_max_megapixels in Python",
            fault="limit",
        )


@contextlib.contextmanager
def reserve_pixels(num_pixels: int) -> Iterator[None]:
    """Wait until a photo of this size can be decoded next to those that other threads decode; the largest runs alone."""
    global _pixels_in_use
    with _released:
        _released.wait_for(lambda: _pixels_in_use == 0 or _pixels_in_use + num_pixels <= _PIXELS_AT_ONCE)
        _pixels_in_use += num_pixels
    try:
        yield
    finally:
        with _released:
            _pixels_in_use -= num_pixels
            _released.notify_all()
