"""Output of commands: plain lines, bold headings on a terminal, and commands that can be copied and run."""

import contextlib
import os
import shlex
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Annotated

import typer

from allmlp.io.display import console, escape, escape_lines, filled, terminal_width

__all__ = [
    "BatchSizeOption",
    "DeviceOption",
    "aligned",
    "command_line",
    "download_bar",
    "heading",
    "is_first_process",
    "next_commands",
    "note",
    "pad",
    "say",
    "say_filled",
]

# A batch of 1,024 photos of 224 pixels takes 0.6 GB, and larger ones are no faster. Every batch is padded to its full size.
BatchSizeOption = Annotated[
    int, typer.Option(min=1, max=1024, help="Photos per batch; affects memory and speed, never the result.")
]
DeviceOption = Annotated[str, typer.Option(help="Compute device: auto, cpu, cuda or mps.")]


def heading(text: str) -> None:
    """Print a line, bold on a terminal."""
    console().print(filled(escape(text), sys.stdout), style="bold")


def say(text: str = "") -> None:
    """Print text for people, so that no name in it can control the terminal."""
    print(filled(escape_lines(text), sys.stdout))


def say_filled(words: Iterable[str], *, first: str, rest: str) -> None:
    """Print words for people; on a terminal, in lines that fit, which start with `first` and then with `rest`.

    A word is never broken, although it may contain spaces: a path or an option with its value. Off a terminal, the words stay
    on one line, so that they can be searched.
    """
    from rich.cells import cell_len

    width = terminal_width(sys.stdout)
    lines = [first]
    for word in words:
        joined = lines[-1] + word if lines[-1] in (first, rest) else f"{lines[-1]} {word}"
        if width is not None and lines[-1] not in (first, rest) and cell_len(joined) > width:
            lines.append(rest + word)
        else:
            lines[-1] = joined
    say("\n".join(lines))


def note(text: str) -> None:
    """Print a line for the user on standard error, so that standard output holds only results."""
    print(filled(escape_lines(text), sys.stderr), file=sys.stderr, flush=True)


def is_first_process() -> bool:
    """Return whether this process prints: of the processes that torchrun starts, only the first one does."""
    from allmlp import training

    return training.is_first_process()


def pad(text: str, width: int, *, right: bool = False) -> str:
    """Return `text` padded with spaces to `width` terminal columns, of which some characters take two."""
    from rich.cells import cell_len

    padding = " " * (width - cell_len(text))
    return padding + text if right else text + padding


def aligned(rows: Sequence[Sequence[str]], *, right: Iterable[int] = ()) -> list[str]:
    """Return one line per row, with columns of equal width; the columns with an index in `right` are right-aligned."""
    from rich.cells import cell_len

    right = set(right)
    widths = [max(map(cell_len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            pad(cell, width, right=index in right) for index, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]


def next_commands(rows: Sequence[tuple[str, str]]) -> None:
    """Print commands to run next, each with its purpose: next to it or, if the terminal is too narrow for that, above it."""
    from rich.cells import cell_len

    lines = aligned([(f"  {command}", f"# {purpose}") for command, purpose in rows])
    width = terminal_width(sys.stdout)
    if width is not None and max(map(cell_len, lines)) > width:
        lines = [line for command, purpose in rows for line in (f"  # {purpose}", f"  {command}")]
    say()
    heading("Next:")
    say("\n".join(lines))


def command_line(*arguments: object) -> str:
    """Return an allmlp command that runs in the user's shell as it stands: quoted, with the program as it was started."""
    return " ".join([_program(), *(_quoted(str(argument)) for argument in arguments)])


def _quoted(argument: str) -> str:
    if argument.isprintable():
        return shlex.quote(argument)
    # Control characters and bytes that are not text, in the notation of bash, zsh and ksh.
    shown = (
        c.replace("\\", r"\\").replace("'", r"\'")
        if c.isprintable()
        else "".join(rf"\x{byte:02x}" for byte in os.fsencode(c))
        for c in argument
    )
    return "$'" + "".join(shown) + "'"


def _program() -> str:
    started = Path(sys.argv[0])
    if started.stem != "allmlp":  # python -m allmlp, or a user's program that called `main`
        return f"{shlex.quote(_short(sys.executable))} -m allmlp" if started.name == "__main__.py" else "allmlp"
    on_path = shutil.which("allmlp")
    if on_path is not None and Path(on_path).resolve() == started.resolve():
        return "allmlp"
    return shlex.quote(_short(str(started)))


def _short(path: str) -> str:
    relative = os.path.relpath(path)
    return path if relative.startswith("..") else relative


@contextlib.contextmanager
def download_bar() -> Iterator[Callable[[int, int], None] | None]:
    """Yield a callback that shows a download on standard error, or None if that is not a terminal."""
    if not (sys.stderr.isatty() and is_first_process()):
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TransferSpeedColumn

    columns = ("Downloading", BarColumn(), DownloadColumn(), TransferSpeedColumn())
    bar = Progress(*columns, console=Console(stderr=True), transient=True)
    task = bar.add_task("", total=None)

    def draw(num_received: int, num_bytes: int) -> None:
        bar.start()  # without effect after the first call
        bar.update(task, completed=num_received, total=num_bytes)

    try:
        yield draw
    finally:
        bar.stop()
