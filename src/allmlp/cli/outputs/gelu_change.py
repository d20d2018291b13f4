"""Measurement, on photos, of how another GELU changes a model's predictions."""

from typing import TYPE_CHECKING

from allmlp.cli.console import aligned

if TYPE_CHECKING:
    from allmlp.checkpoints import Checkpoint
    from allmlp.evaluation import Comparison

__all__ = ["measure_gelu"]


def measure_gelu(before: "Checkpoint", after: "Checkpoint", data: str) -> list[str]:
    """Return lines with the largest change of the logits and the number of photos whose prediction changes.

    Raises:
        DataError: no photos, or a photo that cannot be decoded.
    """
    from allmlp.evaluation import compare
    from allmlp.inference import open_model

    comparison = compare(open_model(before), open_model(after), data)
    return [f"measured on {comparison.photos}", *aligned(_rows(comparison))]


def _rows(comparison: "Comparison") -> list[tuple[str, str]]:
    change, largest = f"{comparison.largest_change:.3g}", f"{comparison.largest:.3g}"
    if comparison.num_changed is None:
        return [("largest change of a feature", f"{change} (the largest feature is {largest})")]
    share = comparison.num_changed / comparison.num_photos
    rows = [
        ("largest change of a logit", f"{change} (the largest logit is {largest})"),
        ("changed predictions", f"{comparison.num_changed:,} of {comparison.num_photos:,} photos ({share:.2%})"),
    ]
    if comparison.top1 is not None:
        old, new = comparison.top1
        rows.append(("top-1", f"{old:.2%} before, {new:.2%} after ({100 * (new - old):+.2f} points)"))
    return rows
