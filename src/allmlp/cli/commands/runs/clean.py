"""The command `allmlp clean`."""

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from allmlp.cli.arguments.output_path import check_different, new_output_path
from allmlp.cli.console import DeviceOption, aligned, command_line, heading, next_commands, note, say
from allmlp.errors import ConfigError
from allmlp.io.display import counted, escape, shorten

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from allmlp.data import PhotoMove
    from allmlp.report import LabelErrors

__all__ = ["clean"]

_MAX_LINES = 20


def clean(
    run: Annotated[
        Path | None, typer.Argument(metavar="RUN", help="A finished run; best one with --folds.", show_default=False)
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="A new folder for both the page and the CSV.", show_default=False),
    ] = None,
    page: Annotated[
        Path | None,
        typer.Option(metavar="OUT.html", help="Write a page on which to mark photos.", show_default=False),
    ] = None,
    csv: Annotated[
        Path | None,
        typer.Option(metavar="FILE.csv", help="Write a table with an empty column for actions.", show_default=False),
    ] = None,
    apply: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.csv",
            help="Carry out the actions in a table: move a photo to the folder of its class, or delete it, which moves it to "
            "PHOTOS-removed. Nothing is moved without this option.",
            show_default=False,
        ),
    ] = None,
    undo: Annotated[
        Path | None, typer.Option(metavar="LOG", help="Undo what --apply did, by its log.", show_default=False)
    ] = None,
    device: DeviceOption = "auto",
) -> None:
    """Find photos that are probably labelled wrong. Models that did not train on them judge; photos move only on request.

    \b
    Examples:
      allmlp clean runs/mine --out label_errors
      allmlp clean runs/mine --apply label_choices.csv
      allmlp clean --undo label_choices-log.jsonl
    """
    _check_options(run, searches=(out, page, csv), apply=apply, undo=undo)
    if undo is not None:
        with _notes_of_interrupt():
            _undo(undo)
    elif run is not None and apply is not None:
        with _notes_of_interrupt():
            _apply(run, apply)
    elif run is not None:
        _find(run, out=out, page=page, csv=csv, device=device)


@contextlib.contextmanager
def _notes_of_interrupt() -> "Iterator[None]":
    """Print what was moved before Ctrl-C."""
    try:
        yield
    except KeyboardInterrupt as stop:
        for line in getattr(stop, "__notes__", ()):
            note(line)
        raise typer.Exit(130) from stop


def _check_options(
    run: Path | None, *, searches: tuple[Path | None, ...], apply: Path | None, undo: Path | None
) -> None:
    out, page, csv = searches
    modes = [any(path is not None for path in searches), apply is not None, undo is not None]
    if sum(modes) > 1:
        raise ConfigError(
            "--apply, --undo and the options of a search (--out, --page, --csv) are three uses; give only one."
        )
    if out is not None and (page is not None or csv is not None):
        raise ConfigError("--out FOLDER takes both the page and the CSV; omit --page and --csv, or --out.")
    if undo is None and run is None:
        raise ConfigError("Missing RUN: a run folder, such as one of `allmlp finetune PHOTOS --folds 5`.")
    if undo is not None and run is not None:
        raise ConfigError("--undo needs only the log: `allmlp clean --undo LOG`.")


def _find(run: Path, *, out: Path | None, page: Path | None, csv: Path | None, device: str) -> None:
    if out is not None:
        new_output_path(str(out), is_folder=True, name="--out", example="label_errors")
        page, csv = out / "label_errors.html", out / "label_errors.csv"
    else:
        for path, name, example in ((page, "--page", "label_errors.html"), (csv, "--csv", "label_errors.csv")):
            if path is not None:
                new_output_path(str(path), is_folder=False, name=name, example=example)
        check_different({"--page": page, "--csv": csv})
    from allmlp.training import find_label_errors

    found = find_label_errors(run, device=device)
    for line in found.notes:
        note(f"note: {line}")
    _print(found)
    command = command_line("clean", run, "--apply", "label_choices.csv" if csv is None else csv)
    if csv is not None:
        say(f"wrote   {escape(found.write_table(csv))}")
    if page is not None:
        choices = command_line("clean", run, "--apply", "label_choices.csv")
        say(f"wrote   {escape(found.write_page(page, apply_command=choices))}")
    if not found.errors:
        next_commands([(command_line("report", run), "the page of the run")])
    elif page is None and csv is None:
        next_commands([(command_line("clean", run, "--out", "label_errors"), "a page to mark photos on, and a CSV")])
    else:
        next_commands([(command, "carry out the actions that you wrote into the CSV, or saved from the page")])


def _print(found: "LabelErrors") -> None:
    shown = found.errors[:_MAX_LINES]
    say(f"{len(found.errors):,} of {counted(found.num_judged, 'photo')} may have a wrong label")
    if not shown:
        return
    rows = [
        (f"{each.score:.3f}", escape(each.given), escape(each.predicted), shorten(escape(each.path), 100))
        for each in shown
    ]
    lines = aligned([("score", "given", "predicted", "photo"), *rows], right=(0,))
    heading(lines[0])
    say("\n".join(lines[1:]))
    if len(found.errors) > len(shown):
        say(f"... and {len(found.errors) - len(shown):,} more")


def _apply(run: Path, table: Path) -> None:
    from allmlp.cli.training_request import data_words
    from allmlp.training import clean_photos, stored_run

    cleaned = clean_photos(run, table)
    if cleaned.log is None:
        say(f"{escape(table)}: no row has the action move or delete, so nothing was moved.")
        next_commands([(command_line("clean", run, "--page", "label_errors.html"), "a page to mark photos on")])
        return
    _say_moves(cleaned.moves, "moved")
    say(f"wrote   {escape(cleaned.log)}")
    stored = stored_run(run)
    assert stored is not None  # `clean_photos` has read it
    options = data_words(run, stored.options)
    next_commands(
        [
            (command_line("finetune", stored.data, *options), "train again, on the corrected photos"),
            (command_line("clean", "--undo", cleaned.log), "undo all of this"),
        ]
    )


def _undo(log: Path) -> None:
    from allmlp.training import undo_cleaning

    moves = undo_cleaning(log)
    _say_moves(moves, "moved back")
    if not moves:
        say("Nothing was moved back: all photos are where they were.")
    next_commands([(f"{command_line('clean')} RUN --out label_errors", "look at the labels again")])


def _say_moves(moves: "Sequence[PhotoMove]", verb: str) -> None:
    for move in moves[:_MAX_LINES]:
        say(f"{verb}   {escape(move.source)} -> {escape(move.target)}")
    if len(moves) > _MAX_LINES:
        say(f"... and {len(moves) - _MAX_LINES:,} more")
