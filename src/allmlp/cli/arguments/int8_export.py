"""`allmlp export --precision int8`: its options, and the table of attempts."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from allmlp.cli.console import aligned, heading, note, say

if TYPE_CHECKING:
    from allmlp.exports import BrowserRuntime
    from allmlp.io.display import Progress
    from allmlp.quantisation import Int8Export, Judged

__all__ = ["Int8Options", "check_int8_options", "write_int8"]


@dataclass(frozen=True, kw_only=True)
class Int8Options:
    """The options of an int8 export, as given; None where omitted."""

    precision: str
    calibrate: str | None
    agreement: float | None
    portable: bool | None


def check_int8_options(options: Int8Options, to: str) -> None:
    """Check the options of int8 against each other. Raises ConfigError."""
    if options == Int8Options(precision="float32", calibrate=None, agreement=None, portable=None):
        return
    from allmlp.quantisation import check_export_options

    check_export_options(to, **asdict(options), dash="--")


def write_int8(
    model: Any,
    options: Int8Options,
    *,
    to: str,
    out: Path,
    pixels: str,
    runtime: "BrowserRuntime | None",
    is_quiet: bool,
    progress: "Progress",
) -> dict[str, Any]:
    """Write an int8 export, print its attempts unless `is_quiet`, and return them as JSON."""
    from allmlp.quantisation import DEFAULT_AGREEMENT, export_int8

    assert options.calibrate is not None  # `check_int8_options` has asked for it
    written = export_int8(
        model,
        options.calibrate,
        to=to,
        out=out,
        pixels=pixels,
        runtime=runtime,
        agreement=DEFAULT_AGREEMENT if options.agreement is None else options.agreement,
        portable=options.portable is not False,
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
        f"{judged.clear_agreement:.2%} of {judged.num_clear:,}" if judged.num_clear else "no such photo",
        *scores,
    )
