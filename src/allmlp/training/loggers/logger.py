"""What an experiment tracker gets, and what it has to do."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

__all__ = ["LoggedRun", "Logger"]


@dataclass(frozen=True, kw_only=True)
class LoggedRun:
    """The run that is logged.

    Attributes:
        folder: where the tracker may keep its own files, in the run folder; it exists.
        name: the name of the run folder.
        settings: the resolved recipe by dotted key, in the syntax of `--set`.
        first_step: the step at which this session starts; above 0 for a resumed run.
    """

    folder: Path
    name: str
    settings: Mapping[str, str]
    first_step: int


class Logger(Protocol):
    """An open tracker. Its methods may raise anything: the caller drops a tracker that fails."""

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Record values, all finite, after `step` steps."""

    def close(self, *, is_finished: bool) -> None:
        """Write everything and end the session; `is_finished` states that the run will not be resumed."""
