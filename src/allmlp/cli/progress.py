"""Progress: of training, a bar on a terminal and one line per epoch elsewhere; of photos, a bar on standard error."""

import contextlib
import math
import sys
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from allmlp.cli.console import console, is_first_process
from allmlp.io.display import Progress, duration, escape_lines, no_progress

if TYPE_CHECKING:
    from rich.progress import Progress as Bar

__all__ = ["ConsoleProgress", "photo_bar"]


@contextlib.contextmanager
def photo_bar(*, is_shown: bool = True) -> Iterator[Progress]:
    """Yield a callback that shows how many photos are done on standard error; it shows nothing unless that is a terminal.

    The bar appears with the first call and disappears with the last photo.
    """
    if not (is_shown and sys.stderr is not None and sys.stderr.isatty() and is_first_process()):
        yield no_progress
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    columns = (BarColumn(), MofNCompleteColumn(), TextColumn("photos"), TimeRemainingColumn())
    output = Console(stderr=True, highlight=False, markup=False, emoji=False, soft_wrap=True)
    # Standard output is left alone: it may hold results, in a file.
    bar = Bar(*columns, console=output, transient=True, redirect_stdout=False)
    task = bar.add_task("", total=None)

    def show(done: int, total: int) -> None:
        bar.update(task, completed=done, total=total)
        if done < total:
            bar.start()  # without effect after the first call
        else:
            bar.stop()

    try:
        yield show
    finally:
        bar.stop()


class ConsoleProgress:
    """Prints the progress of training; implements `allmlp.training.Progress`."""

    def __init__(self) -> None:
        self._console = console()
        self._bar: Bar | None = None
        self._total_steps = 0

    def message(self, text: str) -> None:
        """Print a line, above the bar if there is one."""
        self._console.print(escape_lines(text))

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
            text = f"loss {loss:.3f}   {images_per_second:,.0f} photos/s   {duration(seconds_left)} left"
            self._bar.update(self._bar.task_ids[0], completed=step, description=text)

    def epoch(self, row: Mapping[str, float]) -> None:
        """Print the line of an epoch."""
        parts = [
            f"epoch {row['epoch']:>3.0f}",
            f"step {row['step']:>{len(str(self._total_steps))}.0f}/{self._total_steps}",
            f"loss {row['train_loss']:.3f}",
        ]
        if not math.isnan(row["validation_top1"]):
            parts.append(f"validation: loss {row['validation_loss']:.3f}, top-1 {row['validation_top1']:6.1%}")
        if row["images_per_second"]:  # 0 if the run was stopped just before this validation and then resumed
            parts.append(f"{row['images_per_second']:,.0f} photos/s")
        parts.append(duration(row["seconds"]))
        self._console.print("   ".join(parts))
        if not sys.stdout.isatty():
            sys.stdout.flush()  # a log that is followed must not lag behind

    def finish(self) -> None:
        """Remove the bar."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None
