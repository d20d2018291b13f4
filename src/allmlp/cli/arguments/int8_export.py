"""`allmlp export --precision int8`: its options, and the table of attempts."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from allmlp.cli.console import aligned, heading, note, say

if TYPE_CHECKING:
    from allmlp.io.display import Progress
    from allmlp.quantisation import Int8Export, Judged

__all__ = ["check_int8_options", "write_int8"]


def check_int8_options(
    to: str | None, precision: str, calibrate: str | None, agreement: float | None, portable: bool | None
) -> None:
    """Check the options of int8 against each other. Raises ConfigError."""
    if precision == "float32" and (calibrate, agreement, portable) == (None, None, None):
        return
    from allmlp.quantisation import check_export_options

    check_export_options(to or "onnx", precision, calibrate, agreement, portable, "--")


def write_int8(
    model: Any,
    photos: str,
    *,
    to: str,
    out: Path,
    agreement: float | None,
    portable: bool | None,
    is_quiet: bool,
    progress: "Progress",
) -> dict[str, Any]:
    """Write an int8 export, print its attempts unless `is_quiet`, and return them as JSON."""
    from dataclasses import asdict

    from allmlp.quantisation import DEFAULT_AGREEMENT, export_int8

    written = export_int8(
        model,
        photos,
        to=to,
        out=out,
        agreement=DEFAULT_AGREEMENT if agreement is None else agreement,
        portable=portable is not False,
        report=note,
        progress=progress,
    )
    if not is_quiet:
        _print(written)
    return {"attempts": [each.to_dict() for each in written.judged], "note": asdict(written.note)}


def _print(written: "Int8Export") -> None:
    columns = ("int8", "same class", "same class, clear photos", "top-1 in float32", "in int8")
    lines = aligned([columns, *map(_row, written.judged)])
    heading(lines[0])
    say("\n".join(lines[1:]))
    say("Photos are clear if their two most probable classes differ by over 0.1 in float32. Intervals are 95 % ones.")


def _row(judged: "Judged") -> tuple[str, ...]:
    values = judged.to_dict()
    low, high = values["agreement_interval"]
    scores = [
        f"{values[name]['top1']:.2%} ({values[name]['low']:.1%} to {values[name]['high']:.1%})"
        if name in values
        else ""
        for name in ("float32", "int8")
    ]
    return (
        judged.attempt,
        f"{judged.agreement:.2%} of {judged.num_photos:,} ({low:.1%} to {high:.1%})",
        f"{judged.clear_agreement:.2%} of {judged.num_clear:,}",
        *scores,
    )
