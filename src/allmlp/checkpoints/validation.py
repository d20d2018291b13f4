"""Validation of weights: their names, their shapes, and that all values are finite."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from allmlp.errors import CheckpointError
from allmlp.io.display import bullets, escape, shorten, summarise

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["check_finite", "check_shapes"]

# Names that an error lists per kind of problem: enough for every weight of H/14, not for a file of a million names.
_MAX_LISTED = 400


def check_shapes(
    wanted: Mapping[str, tuple[int, ...]],
    found: Mapping[str, tuple[int, ...]],
    *,
    where: str,
    shown_name: Callable[[str], str] = str,
    advice: str = "",
) -> None:
    """Check the names and shapes of weights against those of a Mixer.

    Args:
        wanted: the Mixer's shapes, by our names.
        found: the shapes that exist, by our names, or by the file's own names where ours do not exist.
        where: starts the error message.
        shown_name: returns the name used in the message; may raise KeyError for names that are not ours.
        advice: ends the error message.

    Raises:
        CheckpointError: names are missing, unexpected or misshapen; lists them all, with both shapes.
    """

    def shown(name: str) -> str:
        try:
            return shown_name(name)
        except KeyError:
            return name

    kinds = (
        [f"missing: {shown(name)} {wanted[name]}" for name in sorted(set(wanted) - set(found))],
        [f"unexpected: {escape(shorten(shown(name), 200))} {found[name]}" for name in sorted(set(found) - set(wanted))],
        [
            f"shape: {shown(name)} is {found[name]}, expected {wanted[name]}"
            for name in sorted(set(wanted) & set(found))
            if wanted[name] != found[name]
        ],
    )
    if any(kinds):
        lines = "\n".join(bullets(problems, limit=_MAX_LISTED) for problems in kinds if problems)
        raise CheckpointError(
            f"{where}: the weights do not fit this Mixer:\n{lines}" + (f"\n{advice}" if advice else "")
        )


def check_finite(weights: "Mapping[str, Tensor]", *, where: str) -> None:
    """Check that every value of the weights is finite.

    Raises:
        CheckpointError: a weight holds NaN or infinity; names all such weights.
    """
    not_finite = sorted(name for name, weight in weights.items() if not weight.isfinite().all())
    if not_finite:
        raise CheckpointError(f"{where}: NaN or infinity in {summarise(not_finite, limit=_MAX_LISTED)}.")
