"""What training tells while it runs. The command line draws it; a program may pass its own."""

from collections.abc import Mapping
from typing import Protocol

__all__ = ["Progress", "Silence"]


class Progress(Protocol):
    """Receives what happens; must not raise."""

    def message(self, text: str) -> None:
        """Take a line for people: what was found, what was chosen, what was written."""

    def start(self, total_steps: int) -> None:
        """Training begins."""

    def step(self, step: int, *, loss: float, images_per_second: float, seconds_left: float) -> None:
        """`step` steps are done."""

    def epoch(self, row: Mapping[str, float]) -> None:
        """An epoch is done; `row` is its line of results.csv."""

    def finish(self) -> None:
        """Training ended, whole or not."""


class Silence:
    """Tells nothing."""

    def message(self, text: str) -> None: ...

    def start(self, total_steps: int) -> None: ...

    def step(self, step: int, *, loss: float, images_per_second: float, seconds_left: float) -> None: ...

    def epoch(self, row: Mapping[str, float]) -> None: ...

    def finish(self) -> None: ...
