"""Display of the progress of training: lines and a bar on a terminal, lines in a log, a bar in a notebook."""

import html
import math
import sys
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from allmlp.io.display import console, duration, escape_lines, filled
from allmlp.training.distributed.speaker import is_first_process
from allmlp.training.progress import NoProgress, Progress

if TYPE_CHECKING:
    from rich.progress import Progress as Bar

__all__ = ["ConsoleProgress", "NotebookProgress", "displayed_progress"]

_SECONDS_BETWEEN_UPDATES = 0.2  # of a bar in a notebook


def displayed_progress(progress: Progress | bool | None) -> Progress:
    """Return what receives the events of a run: True means the display that suits a terminal, log or notebook.

    None and False discard the events. With several processes, only the first one displays them.
    """
    if progress is None or isinstance(progress, bool):
        if not (progress and is_first_process()):
            return NoProgress()
        return NotebookProgress() if console().is_jupyter else ConsoleProgress()
    return progress


class ConsoleProgress:
    """Prints the progress of training; implements `Progress`."""

    def __init__(self) -> None:
        self._console = console()
        self._bar: Bar | None = None
        self._total_steps = 0

    def message(self, text: str) -> None:
        """Print a line, above the bar if there is one."""
        self._console.print(filled(escape_lines(text), sys.stdout))

    def start(self, total_steps: int) -> None:
        """Show the bar if standard output is a terminal."""
        self._total_steps = total_steps
        if not sys.stdout.isatty():  # not rich's is_terminal: FORCE_COLOR asks for colour in a log, not for a bar
            return
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

        columns = (BarColumn(), MofNCompleteColumn(), TextColumn("{task.description}"))
        self._bar = Progress(*columns, console=self._console, transient=True)
        self._bar.start()
        self._bar.add_task("starting", total=total_steps)

    def revise(self, total_steps: int) -> None:
        """Change the length of the bar."""
        self._total_steps = total_steps
        if self._bar is not None:
            self._bar.update(self._bar.task_ids[0], total=total_steps)

    def step(self, step: int, *, loss: float, images_per_second: float, seconds_left: float) -> None:
        """Update the bar."""
        if self._bar is not None:
            text = _step_text(loss, images_per_second, seconds_left)
            self._bar.update(self._bar.task_ids[0], completed=step, description=text)

    def epoch(self, row: Mapping[str, float]) -> None:
        """Print the line of an epoch."""
        self._console.print(filled(_epoch_line(row, self._total_steps), sys.stdout))
        if not sys.stdout.isatty():
            sys.stdout.flush()  # a log that is followed must not lag behind

    def finish(self) -> None:
        """Remove the bar."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None


class NotebookProgress:
    """Displays the progress of training below the cell of a notebook: lines, and a bar while it trains.

    The bar is HTML that any notebook shows; rich's bar would need ipywidgets there.
    """

    def __init__(self) -> None:
        self._bar: Any = None  # IPython's DisplayHandle
        self._total_steps = self._step = 0
        self._updated = -math.inf
        self._state = self._scores = ""

    def message(self, text: str) -> None:
        """Write a line."""
        sys.stdout.write(escape_lines(text) + "\n")
        sys.stdout.flush()

    def start(self, total_steps: int) -> None:
        """Show the bar."""
        from IPython.display import HTML, display

        self._total_steps, self._step, self._state, self._scores = total_steps, 0, "starting", ""
        self._bar = display(HTML(self._html()), display_id=True)

    def revise(self, total_steps: int) -> None:
        """Change the length of the bar."""
        self._total_steps = total_steps

    def step(self, step: int, *, loss: float, images_per_second: float, seconds_left: float) -> None:
        """Update the bar, at most five times per second."""
        self._step, self._state = step, _step_text(loss, images_per_second, seconds_left)
        if time.monotonic() - self._updated > _SECONDS_BETWEEN_UPDATES:
            self._update(self._html())

    def epoch(self, row: Mapping[str, float]) -> None:
        """Show the scores of an epoch below the bar."""
        self._scores = _epoch_line(row, self._total_steps)
        self._update(self._html())

    def finish(self) -> None:
        """Replace the bar with the line of the last epoch."""
        self._update(f"<pre>{html.escape(self._scores)}</pre>" if self._scores else "")
        self._bar = None

    def _update(self, content: str) -> None:
        from IPython.display import HTML

        if self._bar is not None:
            self._bar.update(HTML(content))
            self._updated = time.monotonic()

    def _html(self) -> str:
        bar = f'<progress value="{self._step}" max="{max(1, self._total_steps)}"></progress>'
        text = f"{self._step}/{self._total_steps} {self._state}\n{self._scores}".rstrip()
        return f"{bar}<pre>{html.escape(text)}</pre>"


def _step_text(loss: float, images_per_second: float, seconds_left: float) -> str:
    return f"steps   loss {loss:.3f}   {images_per_second:,.0f} photos/s   {duration(seconds_left)} left"


def _epoch_line(row: Mapping[str, float], total_steps: int) -> str:
    parts = [
        f"epoch {row['epoch']:>3.0f}",
        f"step {row['step']:>{len(str(total_steps))}.0f}/{total_steps}",
        f"loss {row['train_loss']:.3f}",
    ]
    if not math.isnan(row["validation_top1"]):
        parts.append(f"validation: loss {row['validation_loss']:.3f}, top-1 {row['validation_top1']:6.1%}")
    if row["images_per_second"]:  # 0 if the run was stopped just before this validation and then resumed
        parts.append(f"{row['images_per_second']:,.0f} photos/s")
    parts.append(f"after {duration(row['seconds'])}")
    return "   ".join(parts)
