"""The number of training photos of each class, and what to do if they are small or differ much."""

from collections.abc import Sequence

import numpy as np

from allmlp.data import ImageDataset
from allmlp.io.display import escape, shorten
from allmlp.report import FEW_PER_CLASS, IMBALANCE, IMBALANCE_REMEDY

__all__ = ["class_size_lines", "class_sizes"]

_MAX_LISTED = 10


def class_sizes(dataset: ImageDataset) -> tuple[int, ...]:
    """Return the number of training photos of each class."""
    counts = np.bincount(dataset.splits["train"].labels, minlength=len(dataset.class_names))
    return tuple(map(int, counts))


def class_size_lines(class_names: Sequence[str], sizes: Sequence[int], *, is_balanced: bool) -> list[str]:
    """Return lines to print before training: all sizes of a few classes, else the extremes; advice on small or unequal ones.

    `is_balanced` states that the recipe balances the classes already.
    """
    largest_first = sorted(range(len(sizes)), key=lambda index: -sizes[index])
    shown = [f"{shorten(escape(class_names[index]), 40)} {sizes[index]:,}" for index in largest_first]
    if len(shown) > _MAX_LISTED:
        lines = [f"classes {len(shown):,}, with training photos from {shown[0]} to {shown[-1]}"]
    else:
        lines = [f"classes training photos: {', '.join(shown)}"]
    num_few = sum(size < FEW_PER_CLASS for size in sizes)
    if num_few:
        lines.append(
            f"warning fewer than {FEW_PER_CLASS} training photos in {num_few:,} of {len(sizes):,} classes: too few to learn a "
            "class well. Add photos to these classes first"
        )
    if max(sizes) > IMBALANCE * max(min(sizes), 1) and not is_balanced:
        lines.append(
            f"warning the largest class has {max(sizes) / max(min(sizes), 1):.1f} times as many training photos as the "
            f"smallest. To balance them: {IMBALANCE_REMEDY} (docs/recipes.md)"
        )
    return lines
