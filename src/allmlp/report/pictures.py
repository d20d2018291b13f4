"""Photos and figures as data URIs, so that a page holds its own pictures."""

import base64
import io
from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image

from allmlp.report import plots

__all__ = ["Photo", "Picture", "draw_picture", "embed_photo"]

CSS_PIXELS_PER_INCH = 96
THUMBNAIL_SIDE = 160
LOSSLESS_SIDE = 64
TINY_SIDE = 40  # photos up to this side are enlarged as squares: smoothing would only blur them


@dataclass(frozen=True)
class Picture:
    """A figure that a page shows."""

    png: bytes
    width: int
    """In CSS pixels."""
    height: int
    description: str
    """What stands in for the figure where it is not seen."""

    @property
    def uri(self) -> str:
        return _data_uri(self.png, "png")


@dataclass(frozen=True)
class Photo:
    """A thumbnail as a data URI."""

    uri: str
    is_tiny: bool
    """Whether its pixels are to be shown as squares."""


def draw_picture(figure: Figure, description: str) -> Picture:
    """Draw a figure for a page."""
    width, height = (round(CSS_PIXELS_PER_INCH * inches) for inches in figure.get_size_inches())
    return Picture(png=plots.to_png(figure), width=width, height=height, description=description)


def embed_photo(photo: NDArray[np.uint8]) -> Photo:
    """Reduce a photo (H, W, 3) to a thumbnail: a page of 70 photos stays below 1 MB."""
    image = Image.fromarray(np.ascontiguousarray(photo, dtype=np.uint8))
    image.thumbnail((THUMBNAIL_SIDE, THUMBNAIL_SIDE), Image.Resampling.LANCZOS)
    file = io.BytesIO()
    if max(image.size) <= LOSSLESS_SIDE:  # JPEG's blocks would show when these are enlarged
        image.save(file, format="PNG", optimize=True)
        uri = _data_uri(file.getvalue(), "png")
    else:
        image.save(file, format="JPEG", quality=90, subsampling=0)
        uri = _data_uri(file.getvalue(), "jpeg")
    return Photo(uri=uri, is_tiny=max(photo.shape[:2]) <= TINY_SIDE)


def _data_uri(content: bytes, kind: str) -> str:
    return f"data:image/{kind};base64," + base64.b64encode(content).decode("ascii")
