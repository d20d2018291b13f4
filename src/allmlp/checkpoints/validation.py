"""Whether weights are those that a Mixer needs: every difference in names and shapes, every number that is none."""

import contextlib
from collections.abc import Mapping
from typing import TYPE_CHECKING

from allmlp.errors import CheckpointError
from allmlp.io.display import bullets, escape, shorten, summarise
from allmlp.model import MixerConfig, parameter_shapes

if TYPE_CHECKING:
    from torch import Tensor

    from allmlp.checkpoints.naming.schemes import Layout

__all__ = ["check_finite", "check_shapes"]

# The offenders that an error lists of each kind: enough for every weight of H/14, not for a file of a million names.
_MAX_LISTED = 400


def check_shapes(
    config: MixerConfig,
    found: Mapping[str, tuple[int, ...]],
    *,
    where: str,
    layout: "Layout | None" = None,
    advice: str = "",
) -> None:
    """Compare names and shapes of weights with what `config` needs.

    Args:
        config: of the Mixer.
        found: our names, their shapes with the axes of `layout`.
        where: leads the error.
        layout: the error speaks its names and axes; None means ours.
        advice: ends the error.

    Raises:
        CheckpointError: every missing, unexpected and misshapen name, with both shapes.
    """
    wanted = parameter_shapes(config)
    if layout is not None:
        wanted = {name: layout.from_our_shape(shape) for name, shape in wanted.items()}

    shown = str if layout is None else layout.theirs
    kinds = (
        [f"missing: {shown(name)} {wanted[name]}" for name in sorted(set(wanted) - set(found))],
        [f"unexpected: {_theirs(layout, name)} {found[name]}" for name in sorted(set(found) - set(wanted))],
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
    """Look at every number.

    Raises:
        CheckpointError: NaN or infinity, with the names of all such weights.
    """
    not_finite = sorted(name for name, weight in weights.items() if not weight.isfinite().all())
    if not_finite:
        raise CheckpointError(f"{where}: NaN or infinity in {summarise(not_finite, limit=_MAX_LISTED)}.")


def _theirs(layout: "Layout | None", name: str) -> str:
    with contextlib.suppress(KeyError):  # a classifier without classes is one of ours
        name = name if layout is None else layout.theirs(name)
    return escape(shorten(name, 200))
