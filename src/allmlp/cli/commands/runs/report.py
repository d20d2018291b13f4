"""The command `allmlp report`."""

from pathlib import Path
from typing import Annotated

import typer

from allmlp.cli.arguments.output_path import check_writable, new_output_path
from allmlp.cli.console import DeviceOption, command_line, next_commands, note, say
from allmlp.errors import ConfigError
from allmlp.io.atomic_write import reason_of
from allmlp.io.display import escape

__all__ = ["report"]


def report(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A run folder, finished or not.", show_default=False)],
    out: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="The HTML file, a new one.", show_default="RUN/report.html, written anew"),
    ] = None,
    device: DeviceOption = "auto",
) -> None:
    """Write the report page of a run. It may have been stopped or killed, or be still in training.

    \b
    Examples:
      allmlp report runs/mine
      allmlp report runs/mine --out page.html
    """
    if out is not None:
        new_output_path(str(out), is_folder=False, name="--out", example="report.html")
    elif run.is_dir():
        _check_writable(run)
    from allmlp.training import report_run, run_state, stored_run

    page = report_run(run, out, device=device, report=note)
    stored = stored_run(run)
    assert stored is not None  # `report_run` has read it
    say(f"wrote   {escape(page)}")
    state = run_state(stored)
    if state == "finished":
        next_commands([(f"{command_line('predict', run)} PHOTO.jpg", "classify photos or whole folders")])
    elif state == "in training":
        say("This run is still in training.")
        next_commands([(command_line("report", run), "write the page again, later")])
    else:
        next_commands([(command_line("train", "--resume", run), "continue this run")])


def _check_writable(run: Path) -> None:
    """Check that the page can be written into the folder of the run.

    Raises:
        ConfigError: it cannot; the message has a command that writes it elsewhere.
    """
    try:
        check_writable(run)
    except OSError as error:
        command = command_line("report", run, "--out", "report.html")
        raise ConfigError(
            f"{escape(run)}: the page cannot be written into this folder ({reason_of(error)}). Write it elsewhere: {command}"
        ) from error
