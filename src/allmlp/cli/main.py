"""`allmlp`: its commands, and how errors become exit codes."""

import atexit
import contextlib
import io
import os
import sys
from collections.abc import Sequence
from typing import Annotated, NoReturn

import typer

from allmlp import __version__
from allmlp.cli.commands.convert import convert
from allmlp.cli.commands.data import data
from allmlp.cli.commands.demo import demo
from allmlp.cli.commands.embed import embed
from allmlp.cli.commands.evaluate import evaluate
from allmlp.cli.commands.finetune import finetune
from allmlp.cli.commands.inspect import inspect
from allmlp.cli.commands.models import models
from allmlp.cli.commands.predict import predict
from allmlp.cli.commands.push import push
from allmlp.cli.commands.recipes import recipes
from allmlp.cli.commands.train import train
from allmlp.errors import AllmlpError
from allmlp.io.display import escape

__all__ = ["app", "main"]

_READER_LEFT = 141  # 128 + SIGPIPE, as shells show it for programs that the signal ends

# Plain help and plain tracebacks: boxes wrap what one wants to copy, and would have to be imported for `--help`.
app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for command in (demo, train, finetune, recipes, data, evaluate, predict, embed, inspect, models, convert, push):
    app.command()(command)


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"allmlp {__version__}")
        raise typer.Exit


@app.callback()
def _allmlp(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """MLP-Mixer on your photos: train one, see how good it is, use it. Start with `allmlp demo`."""


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run a command and exit: 0, or 2 usage, 3 data, 4 checkpoint, 5 missing extra, 6 a failed check, 7 another process of
    the training was lost, 130 and 143 on signals, 141 when nobody reads the output any more (`| head`); anything
    unexpected keeps its traceback and exits 1.
    """
    ended_with: list[int] = []
    if os.environ.get("WORLD_SIZE", "1") != "1":
        atexit.register(_leave, ended_with)  # the first that is registered is the last that runs
    for stream in (sys.stdout, sys.stderr):
        # An old terminal's encoding lacks a character: show its escape rather than fail at the end of a long run.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        code = _run(arguments)
        if sys.stdout is not None:
            sys.stdout.flush()  # here, where it can still be caught, and not when the interpreter ends
    except BrokenPipeError:
        _drop_output()
        code = _READER_LEFT
    if isinstance(code, int):
        ended_with.append(code)
    sys.exit(code)


def _leave(ended_with: list[int]) -> None:
    """End one of several processes without taking the interpreter down.

    Threads of torch's process group outlive it where anything still refers to it, as caches of torch's do. One that lets go of
    a tensor while the interpreter goes down aborts the process, whose work was done (torch 2.14, gloo; pytorch issue 190489).
    """
    if ended_with:
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError, ValueError, AttributeError):  # closed, full, or none
                stream.flush()
        os._exit(ended_with[0])


def _run(arguments: Sequence[str] | None) -> str | int | None:
    try:
        app(args=arguments, prog_name="allmlp")
    except AllmlpError as error:
        from allmlp import training  # later: `allmlp --help` loads nothing

        if training.is_speaker(error):
            print(_printable(f"allmlp: {error}"), file=sys.stderr)
        return error.exit_code
    except SystemExit as end:
        if isinstance(end.__context__, BrokenPipeError):  # typer exits with 1 then, as a bug does
            raise end.__context__ from None
        return end.code
    return 0


def _printable(message: str) -> str:
    """Return a message of several lines, each escaped, so that no name in it can move the cursor."""
    return "\n".join(map(escape, message.split("\n")))


def _drop_output() -> None:
    """Let what is still buffered for a reader that has left go nowhere, or the interpreter complains as it ends."""
    for stream in (sys.__stdout__, sys.__stderr__):
        if stream is None:
            continue
        try:
            stream.flush()
        except BrokenPipeError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
