"""The trackers by name, and the observer that sends them the events of a run."""

import importlib
import importlib.util
import math
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

from allmlp.errors import ConfigError, MissingExtraError, did_you_mean
from allmlp.io.display import Report, escape, shorten
from allmlp.training.loggers.logger import LoggedRun, Logger

__all__ = ["LOGGERS", "LoggerProgress", "check_loggers", "loggers_of"]


class _Kind(NamedTuple):
    """A tracker: the library it needs, and where it is opened. Its name is that of its extra."""

    library: str
    module: str
    function: str


LOGGERS: Mapping[str, _Kind] = {
    "tensorboard": _Kind("tensorboard", "allmlp.training.loggers.tensorboard", "open_tensorboard"),
    "wandb": _Kind("wandb", "allmlp.training.loggers.wandb", "open_wandb"),
    "mlflow": _Kind("mlflow", "allmlp.training.loggers.mlflow", "open_mlflow"),
}

_SECONDS_BETWEEN_STEPS = 1.0  # of which a tracker gets the loss; it gets every epoch


def check_loggers(names: Sequence[str]) -> None:
    """Check that trackers exist and that their libraries are installed; none is imported.

    Raises:
        ConfigError: an unknown name.
        MissingExtraError: a library is missing; the message contains the command that installs it.
    """
    for name in names:
        if name not in LOGGERS:
            raise ConfigError(
                f"logger {shorten(escape(name), 50)}: unknown; expected {', '.join(LOGGERS)}.{did_you_mean(name, LOGGERS)}"
            )
    missing = [name for name in names if not _is_installed(name)]
    if missing:
        raise MissingExtraError(
            f"--logger {missing[0]} needs {LOGGERS[missing[0]].library}: pip install 'allmlp[{','.join(missing)}]'"
        )


def loggers_of(folder: Path, report: Report) -> tuple[str, ...]:
    """Return the trackers with which earlier sessions of a run were logged; one that is not installed is reported."""
    used = [name for name in LOGGERS if (folder / name).is_dir()]
    for name in used:
        if not _is_installed(name):
            report(
                f"warning this run was logged with {name}, which is not installed here: pip install 'allmlp[{name}]'"
            )
    return tuple(name for name in used if _is_installed(name))


def _is_installed(name: str) -> bool:
    return importlib.util.find_spec(LOGGERS[name].library) is not None


class LoggerProgress:
    """Sends the events of a run to trackers. One that fails is dropped with a single warning, and training continues."""

    def __init__(self, warn: Report) -> None:
        self._warn = warn
        self._open: dict[str, Logger] = {}
        self._recorded = -math.inf

    def open(self, name: str, run: Callable[[], LoggedRun]) -> None:
        """Open a tracker; `run` returns the run as this tracker gets it."""
        kind = LOGGERS[name]

        def open_logger() -> None:
            function: Callable[[LoggedRun], Logger] = getattr(importlib.import_module(kind.module), kind.function)
            self._open[name] = function(run())

        self._guarded(name, open_logger)

    def step(self, step: int, *, loss: float, images_per_second: float) -> None:
        """Record the loss, at most once per second."""
        now = time.monotonic()
        if now - self._recorded >= _SECONDS_BETWEEN_STEPS:
            self._recorded = now
            self._log(step, {"step/loss": loss, "step/images_per_second": images_per_second})

    def epoch(self, row: Mapping[str, float]) -> None:
        """Record a row of results.csv."""
        self._log(int(row["step"]), {f"epoch/{name}": value for name, value in row.items() if name != "step"})

    def scores(self, step: int, values: Mapping[str, float]) -> None:
        """Record the final scores of the best checkpoint."""
        self._log(step, {f"best/{name}": value for name, value in values.items()})

    def close(self, *, is_finished: bool) -> None:
        """End the session of all trackers."""
        for name, logger in list(self._open.items()):
            self._guarded(name, partial(logger.close, is_finished=is_finished))
        self._open.clear()

    def _log(self, step: int, values: Mapping[str, float]) -> None:
        finite = {name: float(value) for name, value in values.items() if math.isfinite(value)}
        for name, logger in list(self._open.items()):
            self._guarded(name, partial(logger.log, step, finite))

    def _guarded(self, name: str, action: Callable[[], None]) -> None:
        try:
            action()
        except Exception as error:
            self._open.pop(name, None)
            lines = str(error).strip().splitlines() or [type(error).__name__]
            self._warn(
                f"warning the logger {name} failed and is off for the rest of this session; training continues "
                f"({type(error).__name__}: {shorten(escape(lines[0]), 200)})"
            )
