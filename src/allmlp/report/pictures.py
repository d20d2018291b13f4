"""Figures and thumbnails of photos as data URIs, which make a page self-contained."""

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image

from allmlp.data import encode_thumbnail, thumbnail_kind
from allmlp.report import plots

__all__ = ["Picture", "Thumbnail", "draw_picture", "make_thumbnail", "reduce_photo", "side_by_side", "thumbnail_uri"]

CSS_PIXELS_PER_INCH = 96
THUMBNAIL_SIDE = 200  # in pixels; the page shows photos at about this size
TINY_SIDE = 40  # images with sides up to this are enlarged without smoothing, which would only blur them


@dataclass(frozen=True)
class Picture:
    """A figure on a page."""

    png: bytes
    width: int
    """Width in CSS pixels, as is `height`."""
    height: int
    description: str
    """The figure's alternative text."""

    @property
    def uri(self) -> str:
        return _data_uri(self.png, "png")


@dataclass(frozen=True)
class Thumbnail:
    """A small version of a photo, as a data URI."""

    uri: str
    is_tiny: bool
    """Whether to enlarge it without smoothing."""


def draw_picture(figure: Figure, description: str) -> Picture:
    """Draw a figure for a page."""
    width, height = (round(CSS_PIXELS_PER_INCH * inches) for inches in figure.get_size_inches())
    return Picture(png=plots.to_png(figure), width=width, height=height, description=description)


def side_by_side(pngs: Sequence[bytes]) -> bytes:
    """Return PNG files of the same height as one picture; to draw them again would take as long as the first time."""
    images = [Image.open(io.BytesIO(png)).convert("RGB") for png in pngs]
    joined = Image.fromarray(np.hstack([np.asarray(image) for image in images]))
    file = io.BytesIO()
    joined.save(file, "PNG", dpi=(plots.DPI, plots.DPI))
    return file.getvalue()


def reduce_photo(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return an image (H, W, 3) with sides of at most THUMBNAIL_SIDE, so that many photos fit into memory."""
    image = Image.fromarray(np.ascontiguousarray(pixels, dtype=np.uint8))
    image.thumbnail((THUMBNAIL_SIDE, THUMBNAIL_SIDE), Image.Resampling.LANCZOS)
    return np.asarray(image)


def make_thumbnail(pixels: NDArray[np.uint8]) -> Thumbnail:
    """Return an image (H, W, 3) as a thumbnail, reduced so that a page with 80 photos stays below 2 MB."""
    uri = thumbnail_uri(encode_thumbnail(pixels, side=THUMBNAIL_SIDE))
    return Thumbnail(uri=uri, is_tiny=max(pixels.shape[:2]) <= TINY_SIDE)


def thumbnail_uri(content: bytes) -> str:
    """Return an encoded thumbnail as a data URI."""
    return _data_uri(content, thumbnail_kind(content))


def _data_uri(content: bytes, kind: str) -> str:
    return f"data:image/{kind};base64," + base64.b64encode(content).decode("ascii")
