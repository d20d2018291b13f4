"""The command `allmlp compare`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from allmlp.cli.arguments.output_format import Format, FormatOption
from allmlp.cli.arguments.output_path import new_output_path
from allmlp.cli.console import DeviceOption, aligned, command_line, heading, next_commands, note, say
from allmlp.io.display import escape, shorten
from allmlp.io.json_object import json_text

if TYPE_CHECKING:
    from collections.abc import Mapping

    from allmlp.report import RunComparison

__all__ = ["compare"]


def compare(
    runs: Annotated[
        list[Path], typer.Argument(metavar="RUNS", help="Two or more run folders, finished or not.", show_default=False)
    ],
    out: Annotated[
        Path | None, typer.Option(metavar="OUT.html", help="Write a page with curves, too.", show_default=False)
    ] = None,
    photos: Annotated[
        str | None,
        typer.Option(
            metavar="PHOTOS",
            help="Score all runs on these labelled photos.",
            show_default="the validation and test predictions that the runs saved",
        ),
    ] = None,
    output_format: FormatOption = Format.TEXT,
    device: DeviceOption = "auto",
) -> None:
    """Compare runs with each other. Shows settings that differ, final figures, and a paired test on photos that they share.

    \b
    Examples:
      allmlp compare runs/a runs/b
      allmlp compare runs/a runs/b runs/c --out comparison.html
      allmlp compare runs/a runs/b --photos PHOTOS --format json
    """
    if out is not None:
        new_output_path(str(out), is_folder=False, name="--out", example="comparison.html")
    from allmlp.training import compare_runs

    comparison = compare_runs(runs, photos, device=device, report=note)
    is_json = output_format is Format.JSON
    if is_json:
        print(json_text(comparison.to_dict(), indent=2, allow_nan=False))
    else:
        _print(comparison)
    if out is not None:
        from allmlp.report import write_comparison

        page = write_comparison(comparison, out)
        if is_json:  # which standard output holds
            note(f"wrote   {escape(page)}")
        else:
            say(f"\nwrote   {escape(page)}")
    if is_json:
        return
    commands = [(command_line("report", runs[0]), "the page of a single run")]
    if out is None:
        on = [] if photos is None else ["--photos", photos]
        command = command_line("compare", *runs, *on, "--out", "comparison.html")
        commands = [(command, "the same as a page, with curves")]
    next_commands(commands)


def _print(comparison: "RunComparison") -> None:
    names = [run.name for run in comparison.runs]
    _print_table("", names, comparison.figures())
    for line in comparison.run_notes:
        say(f"  {line}")
    if comparison.settings:
        say()
        _print_table("settings that differ", names, comparison.settings)
    else:
        say("\nThe runs have the same settings.")
    if comparison.tests:
        say()
        rows = [
            (
                f"{escape(test.first)}, {escape(test.second)}",
                f"{test.num_photos:,} {test.split}",
                f"{test.num_only_first:,}",
                f"{test.num_only_second:,}",
                f"{test.p_value:.2g}",
                escape(test.verdict),
            )
            for test in comparison.tests
        ]
        header = ("McNemar's exact test", "photos", "only first right", "only second right", "p", "result")
        lines = aligned([header, *rows], right=(2, 3, 4))
        heading(lines[0])
        say("\n".join(lines[1:]))
    for line in comparison.notes:
        say(f"\n{line}")


def _print_table(title: str, names: list[str], rows: "Mapping[str, tuple[str, ...]]") -> None:
    cells = [(key, *(shorten(escape(value), 60) for value in values)) for key, values in rows.items()]
    lines = aligned([(title, *map(escape, names)), *cells])
    heading(lines[0])
    say("\n".join(lines[1:]))
