import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from allmlp.cli.console import aligned, command_line
from allmlp.io.display import console
from allmlp.training import ConsoleProgress

ROW = {
    "epoch": 2,
    "step": 20,
    "seconds": 65.0,
    "learning_rate": 0.1,
    "train_loss": 1.25,
    "validation_loss": 1.5,
    "validation_top1": 0.625,
    "validation_top5": 1.0,
    "images_per_second": 1234.0,
}


def test_columns_line_up_also_with_characters_that_take_two_places():
    assert aligned([("a", "1"), ("衣服", "22")], right=(1,)) == ["a      1", "衣服  22"]


def test_console_lines_are_neither_wrapped_nor_read_as_markup(capsys):
    line = "[red]x[/red] :smile: " * 30
    console().print(line)
    assert capsys.readouterr().out == line + "\n"


@pytest.mark.parametrize("name", ["a folder/x", "it's", "$(reboot)", "-x", "plain"])
def test_a_printed_command_runs_with_exactly_these_arguments(name, monkeypatch):
    monkeypatch.setattr("sys.argv", ["allmlp"])
    program, *arguments = shlex.split(command_line("predict", name))
    assert program
    assert arguments == ["predict", name]


def test_a_printed_command_names_the_program_as_it_was_started(tmp_path):
    code = "from allmlp.cli.console import command_line; print(command_line('recipes'))"
    installed = Path(sys.executable).parent / "allmlp"
    outcome = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.argv[0] = {str(installed)!r}; {code}"],
        capture_output=True,
        text=True,
        check=True,
        cwd=tmp_path,
        env={"PATH": "/usr/bin:/bin"},  # not found by its bare name
    )
    assert Path(shlex.split(outcome.stdout)[0]) == installed


def test_progress_off_a_terminal_is_one_line_an_epoch(capsys):
    progress = ConsoleProgress()
    progress.message("data [red] found")
    progress.start(40)
    for step in range(1, 21):
        progress.step(step, loss=1.0, images_per_second=10.0, seconds_left=3.0)
    progress.epoch(ROW)
    progress.finish()
    assert capsys.readouterr().out.splitlines() == [
        "data [red] found",
        "epoch   2   step 20/40   loss 1.250   validation: loss 1.500, top-1  62.5%   1,234 photos/s   after "
        "1 min 05 s",
    ]


def test_progress_without_validation_leaves_it_out(capsys):
    progress = ConsoleProgress()
    progress.start(40)
    progress.epoch({**ROW, "validation_loss": float("nan"), "validation_top1": float("nan")})
    assert "validation" not in capsys.readouterr().out


def test_progress_on_a_terminal_shows_a_bar_with_rate_and_time_left(capsys, monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("TTY_COMPATIBLE", "1")
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    progress = ConsoleProgress()
    progress.start(40)
    progress.step(20, loss=1.0, images_per_second=1234.0, seconds_left=65.0)
    progress.epoch(ROW)
    progress.finish()
    progress.finish()  # twice does no harm
    shown = capsys.readouterr().out
    assert "20/40\x1b[0m steps   loss" in shown
    assert "1,234 photos/s   1 min 05 s left" in shown
