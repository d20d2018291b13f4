"""Errors that a user can fix. Everything else that is raised is a bug and keeps its traceback."""

import difflib
from collections.abc import Iterable

__all__ = [
    "AllmlpError",
    "CheckFailedError",
    "CheckpointError",
    "ConfigError",
    "DataError",
    "DivergedError",
    "MissingExtraError",
    "ProcessLostError",
    "ReportedError",
    "did_you_mean",
]


class AllmlpError(Exception):
    """Something a user can fix: the message says what is wrong, where, and what to do.

    `exit_code` is what the command line exits with.
    """

    exit_code = 1


class ConfigError(AllmlpError):
    """An invalid recipe, option or size; found before any file or accelerator is touched."""

    exit_code = 2


class DivergedError(ConfigError):
    """A training whose loss, gradient, weights or logits are not finite any more: its learning rate is too high, mostly."""


class DataError(AllmlpError):
    """Unusable photos, folders or labels; the message names them."""

    exit_code = 3


class CheckpointError(AllmlpError):
    """A weight file that is damaged, incomplete, or of another model."""

    exit_code = 4


class MissingExtraError(AllmlpError):
    """An optional library is not installed; the message is the command that installs it."""

    exit_code = 5


class CheckFailedError(AllmlpError):
    """A check that the user asked for (such as `--min-top1`) did not hold."""

    exit_code = 6


class ProcessLostError(AllmlpError):
    """Another process of a training was killed, hangs, or cannot be reached; nothing is wrong with this one."""

    exit_code = 7


class ReportedError(AllmlpError):
    """An error that ends all processes that train together, with the words of its cause. One of them reports it.

    Attributes:
        cause: the error itself, whose exit code this one takes.
        is_speaker: whether this process reports it.
        is_shared: whether all processes raise it at the same place, so that they can still do things together.
    """

    def __init__(self, cause: AllmlpError, *, is_speaker: bool, is_shared: bool = False) -> None:
        super().__init__(str(cause))
        self.cause = cause
        self.exit_code = cause.exit_code
        self.is_speaker = is_speaker
        self.is_shared = is_shared


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return " Did you mean 'x'?" with the nearest of `known`, or "" when none is near."""
    by_folded = {candidate.casefold(): candidate for candidate in known}  # "b/16" means "B/16"
    near = difflib.get_close_matches(name[:100].casefold(), by_folded, n=3, cutoff=0.5)
    if not near:
        return ""
    return " Did you mean " + " or ".join(repr(by_folded[candidate]) for candidate in near) + "?"
