"""Explanations for /explain, where this installation has them."""

import importlib
import importlib.util
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from allmlp.checkpoints import Checkpoint

__all__ = ["Explain", "has_explanations", "open_explain"]

Explain = Callable[[NDArray[np.uint8], Sequence[str] | None], dict[str, Any]]
"""From RGB pixels (h, w, 3) and the classes to show (None: the most probable ones) to a JSON object."""

_MODULE = "allmlp.explanations"


def has_explanations() -> bool:
    """Return whether this installation explains answers."""
    return importlib.util.find_spec(_MODULE) is not None


def open_explain(source: str | Path | Checkpoint, *, backend: str, device: str) -> Explain:
    """Open a model for explanations: what each patch contributes to each logit.

    Raises:
        AllmlpError: as `open_model`, or a backend without explanations.
    """
    explainer = importlib.import_module(_MODULE).Explainer.from_checkpoint(source, backend=backend, device=device)

    def explain(pixels: NDArray[np.uint8], classes: Sequence[str] | None) -> dict[str, Any]:
        values: dict[str, Any] = explainer.explain(pixels, classes).to_json_object()
        values.pop("photo", None)
        return values

    return explain
