"""The table of backends and the type of its entries."""

import importlib.util
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from allmlp.checkpoints import Checkpoint
from allmlp.errors import ConfigError, MissingExtraError, did_you_mean
from allmlp.inference.backends import eager, litert_runtime, onnx_runtime, openvino_runtime
from allmlp.inference.backends.cpu_source import settings_to_try
from allmlp.inference.engine_settings import EngineSettings
from allmlp.inference.runnable import Output, RunnableModel
from allmlp.io.display import escape, quote, shorten

__all__ = ["BACKENDS", "Backend", "check_installed", "choose_backend", "usable_backends"]


@dataclass(frozen=True, kw_only=True)
class Backend:
    """A runtime. How it divides the images of a call into batches is up to the backend: see the docstring of its file.

    Attributes:
        recognises: returns whether the backend opens a source. "auto" takes the first backend in the table that does, is
            installed and has the precision, unless another was measured to be faster (`open_model`).
        open: opens a source with a device, a precision and an output, which the backend checks.
        precisions: that it computes in, the default first. Those that this processor lacks are refused when a model is opened.
        modules: the Python modules that must be installed.
        extra: the extra of allmlp that installs `modules`; None if every installation has them.
        settings: the settings to compare when tuning, for small Mixers or for large ones, which `open` then takes as its last
            argument; None if there are none.
        open_exact: as `open`, but on a GPU, too, an image's outputs do not depend on its batch; None if that always holds.
    """

    recognises: Callable[[str | Path | Checkpoint], bool]
    open: Callable[..., RunnableModel]
    precisions: tuple[str, ...]
    modules: tuple[str, ...]
    extra: str | None = None
    settings: Callable[[bool], Sequence[EngineSettings]] | None = None
    open_exact: Callable[[str | Path | Checkpoint, str, str, Output], RunnableModel] | None = None


BACKENDS: Mapping[str, Backend] = {
    "eager": Backend(
        recognises=eager.recognises,
        open=eager.open_eager,
        precisions=("float32", "bfloat16"),
        modules=("torch",),
        open_exact=partial(eager.open_eager, exact=True),
    ),
    "compiled": Backend(
        recognises=eager.recognises,
        open=eager.open_compiled,
        precisions=("float32", "bfloat16"),
        modules=("torch",),
        open_exact=partial(eager.open_compiled, exact=True),
    ),
    "onnxruntime": Backend(
        recognises=onnx_runtime.recognises,
        open=onnx_runtime.open_onnx_runtime,
        precisions=("float32",),
        modules=("onnxruntime",),
        settings=lambda is_small: settings_to_try(is_small=is_small, spins=True, first=4),
        extra="onnxruntime",
    ),
    "openvino": Backend(
        recognises=openvino_runtime.recognises,
        open=openvino_runtime.open_openvino,
        precisions=("float32", "bfloat16"),
        modules=("openvino",),
        settings=lambda is_small: settings_to_try(is_small=is_small),
        extra="openvino",
    ),
    "litert": Backend(
        recognises=litert_runtime.recognises,
        open=litert_runtime.open_litert,
        precisions=("float32",),
        modules=("ai_edge_litert",),
        extra="litert",
    ),
}


def choose_backend(name: str, source: str | Path | Checkpoint, precision: str = "auto") -> Backend:
    """Return the backend with this name, or for "auto" the first of `usable_backends`.

    Raises:
        ConfigError: an unknown backend, or one that cannot open this source.
        MissingExtraError: a library of the backend is not installed.
    """
    if name != "auto" and name not in BACKENDS:
        known = ("auto", *BACKENDS)
        raise ConfigError(f"Unknown backend {name!r}.{did_you_mean(name, known)} Choose one of {', '.join(known)}.")
    candidates = list(BACKENDS) if name == "auto" else [name]
    found = [key for key in candidates if BACKENDS[key].recognises(source)]
    if not found and name == "auto":
        raise ConfigError(f"The source of a model is {quote(source)}; expected a path, a name or a Checkpoint.")
    if not found:
        raise ConfigError(f"The backend {name} cannot open {shorten(escape(source), 300)}. Use backend 'auto'.")
    # If none has the precision, opening says which do.
    found = [key for key in found if name != "auto" or _computes_in(key, precision)] or found
    chosen = next((key for key in found if not _missing(BACKENDS[key])), found[0])
    check_installed(chosen, BACKENDS[chosen])
    return BACKENDS[chosen]


def usable_backends(source: str | Path | Checkpoint, precision: str = "auto") -> list[str]:
    """Return the backends that recognise a source, are installed and compute in a precision, in the order of the table."""
    return [
        name
        for name, backend in BACKENDS.items()
        if backend.recognises(source) and not _missing(backend) and _computes_in(name, precision)
    ]


def _computes_in(name: str, precision: str) -> bool:
    return precision in ("auto", *BACKENDS[name].precisions)


def check_installed(name: str, backend: Backend) -> None:
    """Check that the libraries of a backend are installed.

    Raises:
        MissingExtraError: a library is missing; the message contains the command that installs it.
    """
    if missing := _missing(backend):
        package = "allmlp" if backend.extra is None else f"allmlp[{backend.extra}]"
        raise MissingExtraError(f"The backend {name} needs {', '.join(missing)}: pip install '{package}'")


def _missing(backend: Backend) -> list[str]:
    return [name for name in backend.modules if not _is_importable(name)]


def _is_importable(name: str) -> bool:
    if name in sys.modules:  # which needs no search; that fails for the modules of some programs
        return True
    try:
        return importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:  # a hook of the program refuses it
        return False
