"""Pictures and colours of heat maps, as a page holds them."""

import base64
import io

from PIL import Image

__all__ = ["css_colour", "webp_uri"]

_QUALITY = 80


def webp_uri(image: Image.Image, *, side: int) -> str:
    """Return a picture, reduced to at most `side` pixels on each side, as a data URI."""
    image = image.copy()
    image.thumbnail((side, side), Image.Resampling.LANCZOS)
    file = io.BytesIO()
    image.save(file, format="WEBP", quality=_QUALITY)
    return "data:image/webp;base64," + base64.b64encode(file.getvalue()).decode("ascii")


def css_colour(colour: tuple[int, int, int]) -> str:
    """Return a colour for a style sheet."""
    return f"rgb({', '.join(map(str, colour))})"
