"""Validation of weights: names, shapes, and that all values are finite."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from allmlp.errors import CheckpointError

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["check_finite", "check_shapes", "listed"]

# The offenders that an error lists of each kind: enough for every weight of H/14, not for a file of a million names.
_MAX_LISTED = 400


def check_shapes(
    wanted: Mapping[str, tuple[int, ...]],
    found: Mapping[str, tuple[int, ...]],
    *,
    where: str,
    shown_name: Callable[[str], str] = str,
    advice: str = "",
) -> None:
    """Compare names and shapes of weights with those of a Mixer.

    Args:
        wanted: what the Mixer needs, by our names.
        found: what there is, by our names, or by the file's own where we have none.
        where: leads the error.
        shown_name: returns what the error calls a name; may raise KeyError for names that are not ours.
        advice: ends the error.

    Raises:
        CheckpointError: every missing, unexpected and misshapen name, with both shapes.
    """

    def shown(name: str) -> str:
        try:
            return shown_name(name)
        except KeyError:
            return name

    kinds = (
        [f"missing: {shown(name)} {wanted[name]}" for name in sorted(set(wanted) - set(found))],
        [f"unexpected: {_printable(shown(name))} {found[name]}" for name in sorted(set(found) - set(wanted))],
        [
            f"shape: {shown(name)} is {found[name]}, expected {wanted[name]}"
            for name in sorted(set(wanted) & set(found))
            if wanted[name] != found[name]
        ],
    )
    if any(kinds):
        lines = "\n  ".join(listed(problems, "\n  ") for problems in kinds if problems)
        raise CheckpointError(
            f"{where}: the weights do not fit this Mixer:\n  {lines}" + (f"\n{advice}" if advice else "")
        )


def check_finite(weights: "Mapping[str, Tensor]", *, where: str) -> None:
    """Look at every number.

    Raises:
        CheckpointError: NaN or infinity, with the names of all such weights.
    """
    not_finite = sorted(name for name, weight in weights.items() if not weight.isfinite().all())
    if not_finite:
        raise CheckpointError(f"{where}: NaN or infinity in {listed(not_finite, ', ')}.")


def listed(problems: list[str], separator: str) -> str:
    """Return the problems in one text, cut off after many."""
    rest = [f"and {len(problems) - _MAX_LISTED:,} more"] if len(problems) > _MAX_LISTED else []
    return separator.join(problems[:_MAX_LISTED] + rest)


def _printable(name: str) -> str:
    return name if name.isprintable() and len(name) <= 200 else ascii(name[:200])
