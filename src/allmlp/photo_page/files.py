"""The files that the server's page and the page of `allmlp export --to web` have in common."""

from collections.abc import Mapping
from pathlib import Path

__all__ = ["PAGE_FILES", "page_file"]

_FOLDER = Path(__file__).parent

PAGE_FILES: Mapping[str, str] = {
    "photos.js": "text/javascript; charset=utf-8",
    "style.css": "text/css; charset=utf-8",
    "icon.svg": "image/svg+xml",
}
"""The media type of each file, by its name."""


def page_file(name: str) -> bytes:
    """Return the content of one of `PAGE_FILES`."""
    return (_FOLDER / name).read_bytes()
