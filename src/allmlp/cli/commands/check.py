"""The command `allmlp check`."""

import csv
import io
import itertools
import re
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from allmlp.cli.arguments.folder_options import ClassesFromOption, SplitFoldersOption, folder_options
from allmlp.cli.arguments.output_format import Format, FormatOption
from allmlp.cli.arguments.output_path import new_output_path
from allmlp.cli.arguments.photos import MaxMegapixelsOption, limit_photos
from allmlp.cli.arguments.recipe import PHOTOS_HELP
from allmlp.cli.console import aligned, command_line, heading, next_commands, note, say, say_filled
from allmlp.io.json_object import json_text

if TYPE_CHECKING:
    from allmlp.data import Finding, QualityReport

__all__ = ["check"]

_MAX_GROUPS = 3  # of each finding in the table; the fix list and the JSON have all
_MAX_CLASSES = 20
_SECONDS_BETWEEN_MESSAGES = 10.0
_TITLES = {"error": "Hurts training", "warning": "May hurt training", "note": "For your information"}


def check(
    data: Annotated[str, typer.Argument(metavar="PHOTOS", help=PHOTOS_HELP, show_default=False)],
    output_format: FormatOption = Format.TEXT,
    fix_list: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="Write a new CSV of file, finding, suggestion.", show_default=False),
    ] = None,
    use_cache: Annotated[
        bool, typer.Option("--cache/--no-cache", help="Use the results of earlier checks for unchanged files.")
    ] = True,
    classes_from: ClassesFromOption = None,
    split_folders: SplitFoldersOption = None,
    max_megapixels: MaxMegapixelsOption = None,
) -> None:
    """Check photos before training. Reads every photo once and changes nothing.

    \b
    Example:
      allmlp check PHOTOS --fix-list fixes.csv

    Exit code 3 if training would be hurt: unreadable photos, copies in several splits, or one photo in several classes.
    """
    path = None
    if fix_list is not None:
        path = new_output_path(fix_list, is_folder=False, name="--fix-list", example="fixes.csv")
    options = folder_options(classes_from, split_folders)
    limit_photos(max_megapixels)
    from allmlp.data import check as check_data
    from allmlp.data import command_options, open_dataset
    from allmlp.io.atomic_write import write_bytes

    report = check_data(open_dataset(data, **options), use_cache=use_cache, progress=_progress())
    if path is not None:
        write_bytes(path, _fix_list(report.findings))
    if output_format is Format.JSON:
        print(json_text(report.to_dict(), indent=2, allow_nan=False))
    else:
        _print(report, [data, *command_options(options)], path)
    if report.hurts_training:
        raise typer.Exit(3)


def _progress() -> Callable[[int, int], None]:
    """Return a callback that reports progress on standard error: in place on a terminal, else every 10 seconds."""
    is_terminal = sys.stderr is not None and sys.stderr.isatty()
    pause = 0.2 if is_terminal else _SECONDS_BETWEEN_MESSAGES
    reported = time.monotonic()

    def progress(done: int, total: int) -> None:
        nonlocal reported
        if is_terminal and done == total:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)
        elif time.monotonic() - reported > pause:
            reported = time.monotonic()
            line = f"{done:,} of {total:,} photos read"
            if is_terminal:
                print(f"\r{line}", end="", file=sys.stderr, flush=True)
            else:
                note(line)

    return progress


def _fix_list(findings: "tuple[Finding, ...]") -> bytes:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("file", "finding", "suggestion"))
    for finding in findings:
        writer.writerows((file, finding.kind, suggestion) for file, suggestion in finding.suggestions())
    return text.getvalue().encode("utf-8", "backslashreplace")


def _print(report: "QualityReport", data: Sequence[str], path: Path | None) -> None:
    from allmlp.io.display import escape

    counts = ", ".join(f"{name} {count:,}" for name, count in report.num_photos.items())
    classes = "1 class" if len(report.class_sizes) == 1 else f"{len(report.class_sizes):,} classes"
    say(f"{escape(report.source)}: {classes}; {counts} photos")
    for line in report.notes:
        say_filled(_words(escape(line)), first="", rest="  ")
    _print_classes(report)
    for severity, title in _TITLES.items():
        findings = [finding for finding in report.findings if finding.severity == severity]
        if findings:
            say()
            heading(title)
        for finding in findings:
            _print_finding(finding)
    say()
    say(_summary(report))
    if path is not None:
        say(f"wrote   {escape(path)}")
    next_commands(_next(report, data, path))


def _summary(report: "QualityReport") -> str:
    """Return the numbers of findings, for people who do not scroll back."""
    from allmlp.io.display import counted

    if not report.findings:
        return "Nothing was found that would hurt training."
    numbers = {severity: sum(finding.severity == severity for finding in report.findings) for severity in _TITLES}
    parts = [f"{_TITLES[severity]}: {number:,}." for severity, number in numbers.items() if number]
    return " ".join([f"{counted(len(report.findings), 'finding')}.", *parts])


def _print_classes(report: "QualityReport") -> None:
    from allmlp.io.display import escape, shorten

    splits = list(report.num_photos)
    rows = [
        (shorten(escape(name), 60), *(f"{sizes.get(split, 0):,}" for split in splits))
        for name, sizes in report.class_sizes.items()
    ]
    say()
    lines = aligned([("class", *splits), *rows[:_MAX_CLASSES]], right=range(1, len(splits) + 1))
    heading(lines[0])
    say("\n".join(lines[1:]))
    if len(rows) > _MAX_CLASSES:
        say(f"... and {len(rows) - _MAX_CLASSES:,} more classes")


def _print_finding(finding: "Finding") -> None:
    from allmlp.io.display import escape, shorten

    say_filled([*finding.summary.split(" "), f"({finding.kind})"], first="  ", rest="    ")
    for group, detail in list(zip(finding.groups, finding.details, strict=True))[:_MAX_GROUPS]:
        more = f" and {len(group) - _MAX_GROUPS:,} more" if len(group) > _MAX_GROUPS else ""
        link = " =" if finding.is_about_copies else " and"
        files = [escape(file) for file in group[:_MAX_GROUPS]]
        words = [f"{file}{link}" for file in files[:-1]] + [files[-1] + more + (":" if detail else "")]
        say_filled([*words, *_words(shorten(escape(detail), 200))], first=" " * 6, rest=" " * 10)
    if len(finding.groups) > _MAX_GROUPS:
        say(f"      ... and {len(finding.groups) - _MAX_GROUPS:,} more")
    say_filled(_words(finding.why), first="    why: ", rest=" " * 9)
    say_filled(_words(finding.advice), first="    do:  ", rest=" " * 9)


def _words(text: str) -> list[str]:
    """Return the words of a text, where an option with its value, and a command for pip, are one word."""
    return re.findall(r"pip install \S+|--\S+ \S+|\S+", text)


def _next(report: "QualityReport", data: Sequence[str], path: Path | None) -> list[tuple[str, str]]:
    again = (command_line("check", *data), "check again after the changes")
    names = itertools.chain(["fixes.csv"], (f"fixes-{number}.csv" for number in itertools.count(2)))
    new = next(name for name in names if not Path(name).exists())
    listed = (command_line("check", *data, "--fix-list", new), "write all files and what to do as a table")
    train = (command_line("finetune", *data), "train on them")
    commands = [listed] if report.findings and path is None else []
    return [*commands, again] if report.hurts_training else [*commands, train]
