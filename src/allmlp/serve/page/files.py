"""The page at /: its files, served by this server, so that no request leaves the host."""

from collections.abc import Awaitable, Callable
from pathlib import Path

from starlette.responses import Response

from allmlp.photo_page import PAGE_FILES, page_file

__all__ = ["PAGE_PATHS", "page_route"]

_FOLDER = Path(__file__).parent
_FILES = {"/": ("page.html", "text/html; charset=utf-8"), "/page.js": ("page.js", "text/javascript; charset=utf-8")}
PAGE_PATHS = (*_FILES, *(f"/{name}" for name in PAGE_FILES))
"""The paths of the page's files."""


def page_route(path: str) -> Callable[[], Awaitable[Response]]:
    """Return the function that answers a path of `PAGE_PATHS`."""
    if path in _FILES:
        name, media_type = _FILES[path]
        content = (_FOLDER / name).read_bytes()
    else:
        name = path.removeprefix("/")
        content, media_type = page_file(name), PAGE_FILES[name]

    async def answer() -> Response:
        return Response(content, media_type=media_type, headers={"cache-control": "no-cache"})

    return answer
