"""The table of backends, and what an entry of it says."""

import importlib.util
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from allmlp.checkpoints import Checkpoint
from allmlp.errors import ConfigError, MissingExtraError, did_you_mean
from allmlp.inference.backends import eager
from allmlp.inference.runnable import Output, RunnableModel

__all__ = ["BACKENDS", "Backend", "check_installed", "choose_backend"]


@dataclass(frozen=True, kw_only=True)
class Backend:
    """A runtime. How it divides the images of a call into batches is its own business: see the docstring of its file.

    Attributes:
        recognises: whether it opens this source. The first backend of the table that does is the one for "auto".
        open: opens a source with a device, a precision and an output, each checked by the backend.
        modules: what has to be installed.
        extra: the extra of allmlp that installs `modules`; None where every installation has them.
    """

    recognises: Callable[[str | Path | Checkpoint], bool]
    open: Callable[[str | Path | Checkpoint, str, str, Output], RunnableModel]
    modules: tuple[str, ...]
    extra: str | None = None


BACKENDS: Mapping[str, Backend] = {
    "eager": Backend(recognises=eager.recognises, open=eager.open_eager, modules=("torch",)),
}


def choose_backend(name: str, source: str | Path | Checkpoint) -> Backend:
    """Return the backend of this name; for "auto", the first that recognises the source.

    Raises:
        ConfigError: an unknown backend, or one that does not open this source.
        MissingExtraError: its library is not installed.
    """
    if name != "auto" and name not in BACKENDS:
        known = ("auto", *BACKENDS)
        raise ConfigError(f"There is no backend {name!r}.{did_you_mean(name, known)} Choose one of {', '.join(known)}.")
    candidates = BACKENDS if name == "auto" else {name: BACKENDS[name]}
    found = next((key for key, backend in candidates.items() if backend.recognises(source)), None)
    if found is None:
        raise ConfigError(f"backend {name} does not open {source}. Use backend 'auto'.")
    check_installed(found, BACKENDS[found])
    return BACKENDS[found]


def check_installed(name: str, backend: Backend) -> None:
    """Raise when a library that a backend needs is not installed.

    Raises:
        MissingExtraError: with the command that installs it.
    """
    missing = [module for module in backend.modules if importlib.util.find_spec(module) is None]
    if missing:
        package = "allmlp" if backend.extra is None else f"allmlp[{backend.extra}]"
        raise MissingExtraError(f"The backend {name} needs {', '.join(missing)}: pip install '{package}'")
