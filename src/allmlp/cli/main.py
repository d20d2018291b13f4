"""The program `allmlp`: its commands, and the exit codes of errors."""

import atexit
import contextlib
import io
import os
import re
import sys
from collections.abc import Sequence
from typing import Annotated, Any, NoReturn

import typer

from allmlp import __version__
from allmlp.cli.commands.check import check
from allmlp.cli.commands.data import data
from allmlp.cli.commands.demo import demo
from allmlp.cli.commands.embed import embed
from allmlp.cli.commands.evaluate import evaluate
from allmlp.cli.commands.finetune import finetune
from allmlp.cli.commands.inspect import inspect
from allmlp.cli.commands.models import models
from allmlp.cli.commands.other_tools.bench import bench
from allmlp.cli.commands.other_tools.convert import convert
from allmlp.cli.commands.other_tools.export import export
from allmlp.cli.commands.other_tools.push import push
from allmlp.cli.commands.other_tools.search import search
from allmlp.cli.commands.other_tools.study import study
from allmlp.cli.commands.predict import predict
from allmlp.cli.commands.recipes import recipes
from allmlp.cli.commands.runs.clean import clean
from allmlp.cli.commands.runs.compare import compare
from allmlp.cli.commands.runs.report import report
from allmlp.cli.commands.serve import serve
from allmlp.cli.commands.shard import shard
from allmlp.cli.commands.train import train
from allmlp.cli.console import note
from allmlp.cli.habits import Command, Commands, UsageError
from allmlp.errors import AllmlpError, MissingExtraError, missing_library, shortage
from allmlp.hardware.compute_threads import limit_spinning

__all__ = ["app", "main"]

# What typer says of values in the words of its parser, in ours.
_PLAIN_WORDS = {
    "Value error, ": "",
    "Input should be a valid integer.*": "expected a whole number",
    "Input should be a valid number.*": "expected a number",
    "Input should be greater than or equal to (.*)": r"expected at least \1",
    "Input should be less than or equal to (.*)": r"expected at most \1",
    "Input should be (a|an) ": r"expected \1 ",
}

_BROKEN_PIPE = 141  # 128 + SIGPIPE, the exit code that shells show for programs ended by this signal

# Plain help and tracebacks: boxes would wrap text that users copy, and `--help` would have to import rich.
app = typer.Typer(
    cls=Commands,
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
COMMANDS = (
    *(demo, train, finetune, recipes, data, check, shard),
    *(
        evaluate,
        report,
        compare,
        clean,
        predict,
        serve,
        embed,
        search,
        inspect,
        models,
        bench,
        study,
        convert,
        export,
        push,
    ),
)
for command in COMMANDS:
    app.command(cls=Command)(command)


def _print_version(is_requested: bool) -> None:
    if is_requested:
        print(f"allmlp {__version__}")
        raise typer.Exit


@app.callback()
def _allmlp(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """MLP-Mixer on your photos: train a model, evaluate it, use it.

    Start with `allmlp demo`.
    """


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run a command and exit.

    The exit code is 0, or 2 for usage, 3 data, 4 checkpoint, 5 missing extra, 6 a failed check, 7 a lost process of the
    training run, 130 and 143 for signals, 141 if the output is no longer read (`| head`), and 1 if the machine lacks memory,
    threads or open files. Any other error keeps its traceback and exits with 1.
    """
    limit_spinning()
    exit_codes: list[int] = []
    if os.environ.get("WORLD_SIZE", "1") != "1":
        atexit.register(_exit_at_once, exit_codes)  # registered first, so that it runs last
    for stream in (sys.stdout, sys.stderr):
        # Escape a character that the terminal's encoding lacks, rather than fail at the end of a long run.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        code = _run(arguments)
        if sys.stdout is not None:
            sys.stdout.flush()  # here, where an error can be caught, rather than when the interpreter exits
    except BrokenPipeError:
        _drop_output()
        code = _BROKEN_PIPE
    if isinstance(code, int):
        exit_codes.append(code)
    sys.exit(code)


def _exit_at_once(exit_codes: list[int]) -> None:
    """End one of several processes without shutting down the interpreter.

    Threads of torch's process group outlive the group while anything refers to it, as torch's caches do. A thread that
    releases a tensor during the shutdown aborts the process after its work is done (torch 2.14, gloo; pytorch issue 190489).
    """
    if exit_codes:
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError, ValueError, AttributeError):  # closed, full, or None
                stream.flush()
        os._exit(exit_codes[0])


def _run(arguments: Sequence[str] | None) -> str | int | None:
    try:
        code: int | None = app(args=arguments, prog_name="allmlp", standalone_mode=False)
        return code or 0
    except UsageError as error:
        return _report_usage(error)
    except typer.Abort:  # what older versions of typer make of Ctrl-C
        return 130
    except AllmlpError as error:
        from allmlp import training  # not at the top: `allmlp --help` does not need it

        if training.is_speaker(error):
            note(f"allmlp: {error}")
        return error.exit_code
    except SystemExit as exit_request:
        if isinstance(exit_request.__context__, BrokenPipeError):  # which typer turns into exit code 1, as for a bug
            raise exit_request.__context__ from None
        return exit_request.code
    except ModuleNotFoundError as error:
        if not (missing := missing_library(error)):
            raise
        note(f"allmlp: {missing}")
        return MissingExtraError.exit_code
    except Exception as error:
        if not (lacking := shortage(error)):
            raise
        note(f"allmlp: {lacking}.")
        return AllmlpError.exit_code


def _report_usage(error: Any) -> int:
    """Print what is wrong with the arguments, in the form of all other errors; return the exit code."""
    if type(error).__name__ == "NoArgsIsHelpError":  # no arguments at all: its text is the help
        error.show()
    else:
        where = "" if error.ctx is None else f" `{error.ctx.command_path} --help` shows what is expected."
        message = error.format_message()
        for pattern, words in _PLAIN_WORDS.items():
            message = re.sub(pattern, words, message)
        end = "" if message.endswith("?") else "."
        note(f"allmlp: {message.removesuffix('.')}{end}{where}")
    code: int = error.exit_code
    return code


def _drop_output() -> None:
    """Discard the output still buffered for a closed pipe, about which the interpreter would complain at exit."""
    for stream in (sys.__stdout__, sys.__stderr__):
        if stream is None:
            continue
        try:
            stream.flush()
        except BrokenPipeError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
