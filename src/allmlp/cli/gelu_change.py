"""What another GELU changes in a model's answers, measured on photos."""

from typing import TYPE_CHECKING

from allmlp.cli.console import aligned

if TYPE_CHECKING:
    from allmlp.checkpoints import Checkpoint
    from allmlp.evaluation import Comparison

__all__ = ["measure_gelu"]


def measure_gelu(before: "Checkpoint", after: "Checkpoint", data: str) -> list[str]:
    """Return lines that say how far the logits of two checkpoints differ, and how many photos they name differently.

    Raises:
        DataError: no photos there, or a photo that cannot be decoded.
    """
    from allmlp.evaluation import compare
    from allmlp.inference import open_model

    found = compare(open_model(before), open_model(after), data)
    return [f"measured on {found.photos}", *aligned(_rows(found))]


def _rows(found: "Comparison") -> list[tuple[str, str]]:
    if found.num_changed is None:
        return [
            ("largest change of a feature", f"{found.largest_change:.3g} (the largest feature is {found.largest:.3g})")
        ]
    share = found.num_changed / found.num_photos
    rows = [
        ("largest change of a logit", f"{found.largest_change:.3g} (the largest logit is {found.largest:.3g})"),
        ("another first class", f"{found.num_changed:,} of {found.num_photos:,} photos ({share:.2%})"),
    ]
    if found.top1 is not None:
        old, new = found.top1
        rows.append(("top-1", f"{old:.2%} before, {new:.2%} after ({100 * (new - old):+.2f} points)"))
    return rows
