"""Exceptions for problems that a user can fix. Any other exception is a bug and keeps its traceback."""

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
    "close_matches",
    "did_you_mean",
]


class AllmlpError(Exception):
    """A problem that the user can fix: the message says what is wrong, where, and what to do.

    `exit_code` is the exit code of the command line.
    """

    exit_code = 1


class ConfigError(AllmlpError):
    """An invalid recipe, option or size, found before any file or accelerator is touched."""

    exit_code = 2


class DivergedError(ConfigError):
    """A training run with a loss, gradient, weight or logit that is not finite, usually from too high a learning rate."""


class DataError(AllmlpError):
    """Unusable photos, folders or labels; the message names them."""

    exit_code = 3


class CheckpointError(AllmlpError):
    """A weight file that is damaged, incomplete, or of a different model."""

    exit_code = 4


class MissingExtraError(AllmlpError):
    """An optional library that is not installed; the message has the command that installs it."""

    exit_code = 5


class CheckFailedError(AllmlpError):
    """A requested check, such as `--min-top1`, that failed."""

    exit_code = 6


class ProcessLostError(AllmlpError):
    """Another process of the training run was killed, hangs or cannot be reached; this process is not the cause."""

    exit_code = 7


class ReportedError(AllmlpError):
    """An error that ends all processes of a training run, with the message of its cause. Only one process reports it.

    Attributes:
        cause: the original error, whose exit code is used.
        is_speaker: whether this process reports it.
        is_shared: whether all processes raise it at the same point, so that they can still communicate.
    """

    def __init__(self, cause: AllmlpError, *, is_speaker: bool, is_shared: bool = False) -> None:
        super().__init__(str(cause))
        self.cause = cause
        self.exit_code = cause.exit_code
        self.is_speaker = is_speaker
        self.is_shared = is_shared


def close_matches(name: str, known: Iterable[str]) -> list[str]:
    """Return at most three of the `known` names that are close to `name`, the closest first."""
    by_folded = {candidate.casefold(): candidate for candidate in known}  # "b/16" means "B/16"
    matches = difflib.get_close_matches(str(name)[:100].casefold(), by_folded, n=3, cutoff=0.5)
    return [by_folded[match] for match in matches]


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return " Did you mean 'x'?" with the closest of the `known` names, or "" if none is close."""
    matches = close_matches(name, known)
    return " Did you mean " + " or ".join(map(repr, matches)) + "?" if matches else ""
