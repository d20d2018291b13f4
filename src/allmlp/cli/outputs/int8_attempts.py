"""What `allmlp export --precision int8` prints: the table of attempts."""

from typing import TYPE_CHECKING

from allmlp.cli.console import aligned, heading, say

if TYPE_CHECKING:
    from collections.abc import Sequence

    from allmlp.quantisation import Judged

__all__ = ["print_attempts"]


def print_attempts(attempts: "Sequence[Judged]") -> None:
    """Print how often each attempt answers as float32, and its accuracy if the photos are labelled."""
    columns = ("int8", "same class", "same class, clear photos", "top-1 in float32", "in int8")
    lines = aligned([columns, *map(_row, attempts)])
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
