"""Classes of a data set among those of a model, matched by name."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from allmlp.checkpoints import ModelDescription
from allmlp.data import escape
from allmlp.errors import DataError

__all__ = ["match_classes"]


def match_classes(names: Sequence[str], model: ModelDescription, *, where: str) -> NDArray[np.int64]:
    """Return, for each class of a data set, its index among the model's classes, by name: int64 (n,).

    Raises:
        DataError: classes that the model does not know, all of them; it leads with `where`.
    """
    rows, known = model.class_rows(names), model.class_names
    unknown = sorted(set(names) - set(rows))
    if unknown and model.has_placeholders:
        raise DataError(
            f"{escape(where)}: the checkpoint's classes are called 0 to {len(known) - 1}, as those of weights without names "
            "are; such numbers count as names only where the data has all of them. Load the weights from where their names "
            "come with them, such as a name of `allmlp models` or a folder with config.json."
        )
    if unknown:
        raise DataError(
            f"{escape(where)}: the checkpoint does not know {len(unknown)} of {len(names)} classes: "
            f"{', '.join(map(escape, unknown))}. It knows: {', '.join(map(escape, known[:50]))}"
            f"{', ...' if len(known) > 50 else ''}. Rename or remove the folders (or labels) of the others."
        )
    return np.array([rows[name] for name in names], dtype=np.int64)
