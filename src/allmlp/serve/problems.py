"""`Problem`: a request that is not answered with a result, in the one JSON shape of all errors."""

from typing import Any

from allmlp.io.display import shorten

__all__ = ["GoneError", "Problem", "error_object"]

_MAX_MESSAGE = 600


class Problem(Exception):  # noqa: N818 - what clients see, not a fault of ours
    """A status, a code for programs, and a message for people.

    Attributes:
        status: of HTTP.
        code: a word for programs, which stays the same when messages change.
        message: one line: what is wrong and what to do.
        headers: more headers of the answer, such as Retry-After.
    """

    def __init__(self, status: int, code: str, message: str, **headers: str) -> None:
        super().__init__(message)
        self.status, self.code, self.message = status, code, message
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}

    @property
    def body(self) -> dict[str, Any]:
        """The JSON body of the answer."""
        return {"error": error_object(self.status, self.code, self.message)}


class GoneError(Exception):
    """The client closed the connection before it was answered."""


def error_object(status: int, code: str, message: str) -> dict[str, Any]:
    """Return what stands under "error", in an answer or for one photo of several."""
    return {"status": status, "code": code, "message": shorten(message, _MAX_MESSAGE)}
