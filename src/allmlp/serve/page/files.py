"""The page at /: its files, served by this server, so that no request leaves the host."""

from collections.abc import Awaitable, Callable
from pathlib import Path

from starlette.responses import Response

__all__ = ["PAGE_PATHS", "page_route"]

_FOLDER = Path(__file__).parent
_FILES = {
    "/": ("page.html", "text/html; charset=utf-8"),
    "/page.js": ("page.js", "text/javascript; charset=utf-8"),
    "/page.css": ("page.css", "text/css; charset=utf-8"),
    "/icon.svg": ("icon.svg", "image/svg+xml"),
}
PAGE_PATHS = tuple(_FILES)
"""The paths of the page's files."""


def page_route(path: str) -> Callable[[], Awaitable[Response]]:
    """Return the function that answers a path of `PAGE_PATHS`."""
    name, media_type = _FILES[path]
    content = (_FOLDER / name).read_bytes()

    async def answer() -> Response:
        return Response(content, media_type=media_type, headers={"cache-control": "no-cache"})

    return answer
