"""The errors a user can cause and mend. Everything else that is raised is a bug and keeps its traceback."""

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
    "did_you_mean",
]


class AllmlpError(Exception):
    """Something a user can fix: the message says what is wrong, where, and what to do.

    `exit_code` is what the command line exits with. Of several processes that train together, `is_shared` says that all raise
    the same at the same place, and can still do things together; `is_told_elsewhere` says whether another one speaks for this
    one, and is None where they have not settled that.
    """

    exit_code = 1
    is_shared = False
    is_told_elsewhere: bool | None = None


class ConfigError(AllmlpError):
    """A recipe, an option or a size that cannot be; found before any file or accelerator is touched."""

    exit_code = 2


class DivergedError(ConfigError):
    """A training whose loss, gradient, weights or logits are not finite any more: its learning rate is too high, mostly."""


class DataError(AllmlpError):
    """Photos, folders or labels that cannot be used; the message names them."""

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


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return " Did you mean 'x'?" with the nearest of `known`, or "" when none is near."""
    by_folded = {candidate.casefold(): candidate for candidate in known}  # "b/16" means "B/16"
    near = difflib.get_close_matches(name[:100].casefold(), by_folded, n=3, cutoff=0.5)
    if not near:
        return ""
    return " Did you mean " + " or ".join(repr(by_folded[candidate]) for candidate in near) + "?"
