"""Exceptions for problems that a user can fix, and shortages of the machine. Any other exception is a bug.

A shortage of memory, threads or open files is an exception of Python, torch, Pillow or Arrow; it says nothing about the file
that was being read. The same holds if a disk, or the network that it is on, does not answer.
"""

import difflib
import errno
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
    "is_out_of_threads",
    "missing_library",
    "shortage",
]

_MEMORY = "there is not enough memory; close other programs, or use smaller photos, models or batches"
_FILES = "too many files are open; raise the limit (ulimit -n)"
_THREADS = "the system allows no further thread; raise its limit (ulimit -u, or a container's limit of processes)"
_OS_ERRORS = {errno.ENOMEM: _MEMORY, errno.EMFILE: _FILES, errno.ENFILE: _FILES}
# Of a disk that fails, is detached or is at the other end of a network: a later try may read what is there. Not all systems
# have all of them.
_OUTAGES = {
    getattr(errno, name)
    for name in (
        *("EIO", "ENODEV", "ENXIO", "ENOMEDIUM", "EREMOTEIO"),
        *("ESTALE", "ETIMEDOUT", "ENOTCONN", "ENOLINK", "ESHUTDOWN", "EKEYEXPIRED"),
        *("EHOSTDOWN", "EHOSTUNREACH", "ENETDOWN", "ENETUNREACH", "ENETRESET"),
        *("ECONNABORTED", "ECONNREFUSED", "ECONNRESET"),
    )
    if hasattr(errno, name)
}
# Of allmlp's dependencies, the module and the package that installs it. The extras have messages of their own.
_SAME_NAME = (
    "filelock",
    "httpx2",
    "jinja2",
    "matplotlib",
    "numpy",
    "pyarrow",
    "rich",
    "safetensors",
    "torch",
    "torchvision",
)
_PACKAGES = {"PIL": "pillow", "huggingface_hub": "huggingface-hub", "markupsafe": "jinja2"} | {n: n for n in _SAME_NAME}
_NO_THREAD = "can't start new thread"
# What Python, the dynamic linker, Pillow and torch say in exceptions of their own types.
_WORDS = {
    _NO_THREAD: _THREADS,
    "out of memory": _MEMORY,
    "not enough memory": _MEMORY,
    "t allocate memory": _MEMORY,
    "cannot allocate": _MEMORY,
    "failed to map segment": _MEMORY,
}


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


def shortage(error: BaseException) -> str:
    """Return what the machine lacked when this was raised, in words without a full stop; "" if it is another error.

    It lacked memory, threads, open files, or the disk itself.
    """
    if isinstance(error, MemoryError):
        return _MEMORY
    if isinstance(error, OSError) and error.errno in _OS_ERRORS:
        return _OS_ERRORS[error.errno]
    if isinstance(error, OSError) and error.errno in _OUTAGES:
        return f"the disk, or the network, does not answer ({error.strerror or error}); check it, and try again"
    if isinstance(error, RuntimeError | OSError | ImportError):
        text = str(error).lower()
        return next((words for said, words in _WORDS.items() if said in text), "")
    return ""


def missing_library(error: ModuleNotFoundError) -> str:
    """Return which of allmlp's libraries is not installed and what to do; "" if this is the module of another program.

    `pip install allmlp` installs all of them; only environments made with `--no-deps` lack some (docs/export.md).
    """
    package = _PACKAGES.get((error.name or "").partition(".")[0])
    if package is None:
        return ""
    return (
        f"This needs the library {package}, which is not installed here. To install it: pip install {package}. To install "
        "all that allmlp needs: pip install allmlp"
    )


def is_out_of_threads(error: BaseException) -> bool:
    """Return whether this was raised because no thread could be started."""
    return isinstance(error, RuntimeError) and str(error) == _NO_THREAD
