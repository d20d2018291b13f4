"""Mapping from the classes of a data set to the classes of a model, by name."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from allmlp.checkpoints import ModelDescription
from allmlp.errors import DataError
from allmlp.io.display import escape, shorten, summarise

__all__ = ["match_classes"]


def match_classes(names: Sequence[str], model: ModelDescription, *, where: str) -> NDArray[np.int64]:
    """Return the model's class index for each class name of a data set: int64 (n,).

    Raises:
        DataError: classes that the model does not know; the message starts with `where` and lists all of them.
    """
    rows, known = model.class_rows(names), model.class_names
    unknown = sorted(set(names) - set(rows))
    if unknown and model.has_placeholders:
        raise DataError(
            f"{escape(where)}: the checkpoint has no class names, only the numbers 0 to {len(known) - 1}. Numbers are matched "
            "as names only if the data set has all of them. Load the weights from a source that includes class names, such as "
            "a name listed by `allmlp models` or a folder with config.json."
        )
    if unknown:
        raise DataError(
            f"{escape(where)}: the checkpoint does not know {len(unknown)} of {len(names)} classes: {_listed(unknown)}. "
            f"It knows: {_listed(known)}. Rename or remove the folders (or labels) of the unknown classes."
        )
    return np.array([rows[name] for name in names], dtype=np.int64)


def _listed(names: Sequence[str]) -> str:
    return summarise((shorten(escape(name), 200) for name in names), limit=50)
