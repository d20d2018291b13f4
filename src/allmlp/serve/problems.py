"""`Problem`: a request or a photo that is not answered with a result, in the one JSON shape of all errors."""

from collections.abc import Mapping, Sequence
from typing import Any

from allmlp.data import PhotoError, PhotoFault
from allmlp.io.display import shorten
from allmlp.io.file_kinds import PHOTO_FORMATS

__all__ = ["GoneError", "Problem", "photo_problem", "problem_of_all", "server_fault", "try_again"]

_MAX_MESSAGE = 600
_RETRY_AFTER_S = 1
# Advice for whoever sent the photo, in place of the decoder's own, which is for the owner of the machine.
_OF_FAULTS: Mapping[PhotoFault, tuple[int, str, str]] = {
    "format": (415, "unsupported_photo", f" Send {PHOTO_FORMATS}."),
    "limit": (413, "photo_too_large", " Send it smaller, or saved again as JPEG or PNG."),
    "damaged": (422, "bad_photo", ""),
}


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
        """The JSON body of the answer, or what stands for one photo of several."""
        return {"error": {"status": self.status, "code": self.code, "message": shorten(self.message, _MAX_MESSAGE)}}


class GoneError(Exception):
    """The client closed the connection before it was answered."""


def try_again(code: str, message: str) -> Problem:
    """Return a 503, which always says when to try again."""
    return Problem(503, code, message, Retry_After=str(_RETRY_AFTER_S))


def server_fault() -> Problem:
    """Return what a client is told about an error that nobody expected."""
    return Problem(500, "internal", "The server has a fault. Its log says more.")


def photo_problem(error: PhotoError) -> Problem:
    """Return what a client is told about a photo that cannot be decoded."""
    status, code, advice = _OF_FAULTS[error.fault]
    return Problem(status, code, error.reason[:1].upper() + error.reason[1:] + advice)


def problem_of_all(problems: Sequence[Problem]) -> Problem:
    """Return the problem of a request from those of all its photos, none of which was answered.

    Its status is theirs if they agree. Otherwise, a fault of the server precedes those of photos, and 503 precedes 500, because
    the request may succeed later; photos that differ are a 422.
    """
    worst = max(problems, key=lambda problem: problem.status)
    if len(problems) == 1:
        return worst
    agree = len({problem.status for problem in problems}) == 1
    status = worst.status if agree or worst.status >= 500 else 422
    code = "bad_photos" if status == 422 else worst.code
    found = Problem(status, code, f"None of the {len(problems)} photos was answered. One of them: {worst.message}")
    found.headers = worst.headers
    return found
