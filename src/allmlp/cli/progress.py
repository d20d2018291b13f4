"""Progress of commands that read photos: a bar on standard error."""

import contextlib
import sys
from collections.abc import Iterator

from allmlp.cli.console import is_first_process
from allmlp.io.display import Progress, no_progress

__all__ = ["photo_bar"]


@contextlib.contextmanager
def photo_bar(*, is_shown: bool = True, has_rate: bool = False) -> Iterator[Progress]:
    """Yield a callback that shows how many photos are done on standard error; it shows nothing unless that is a terminal.

    The bar appears with the first call and disappears with the last photo. `has_rate` adds photos per second. What the first
    call says is done already is not counted in the time that is left.
    """
    if not (is_shown and sys.stderr is not None and sys.stderr.isatty() and is_first_process()):
        yield no_progress
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    rate = [TextColumn("{task.fields[rate]}")] if has_rate else []
    columns = (BarColumn(), MofNCompleteColumn(), TextColumn("photos"), *rate, TimeRemainingColumn())
    output = Console(stderr=True, highlight=False, markup=False, emoji=False, soft_wrap=True)
    # Standard output is left alone: it may hold results, in a file.
    bar = Bar(*columns, console=output, transient=True, redirect_stdout=False)
    task = bar.add_task("", total=None, rate="")
    is_first = True

    def show(done: int, total: int) -> None:
        nonlocal is_first
        if is_first and done:
            bar.reset(task, completed=done, total=total)
        is_first = False
        speed = bar.tasks[0].speed if has_rate else None
        bar.update(task, completed=done, total=total, rate="" if speed is None else f"{speed:,.0f}/s")
        if done < total:
            bar.start()  # without effect after the first call
        else:
            bar.stop()

    try:
        yield show
    finally:
        bar.stop()
