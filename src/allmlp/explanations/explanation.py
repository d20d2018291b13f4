"""`Explanation`: the logits of a photo as sums over its patches."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from allmlp.errors import ConfigError, did_you_mean
from allmlp.explanations.geometry import PatchGeometry
from allmlp.io.display import escape, quote, shorten
from allmlp.metrics import softmax

__all__ = ["Explanation", "rows_of"]

_MAX_NAME = 60


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Explanation:
    """Why a model answers what it answers for a photo.

    The classifier is linear on the mean over tokens, so that every logit is a sum with one term per patch:
    logit_k = bias_k + sum over patches s of w_k · LayerNorm(x_s) / S. That is exact, up to rounding. Token mixing lets a
    patch's term depend on the whole photo: `occlusion` shows what the answer depends on.

    Attributes:
        source: the photo's path or name.
        class_names: K names, in the order of the logits.
        classes: the classes that were asked for, or else the most probable ones, best first.
        logits: (K,), float32: `bias` + the sum of `contributions` over rows and columns.
        bias: (K,), float32, of the classifier; the same for every photo.
        contributions: (rows, columns, K), float32, one row and column per patch.
        geometry: which part of the photo each patch shows.
        photo: the photo, uint8 RGB (h, w, 3), reduced to at most 512 pixels on each side, or enlarged if it is tiny; (0, 0, 3)
            if it was not kept (`Explainer.prepare`).
        blocks: (N, K), float32: the logits if the final LayerNorm and the classifier followed each of the N blocks; the last
            row is `logits`. None if the backend does not compute them: eager does.
        occlusion: (rows, columns, K), float32: by how much each logit falls if a tile of the photo is replaced by the mean
            colour. Tiles may be larger than patches. None if it was not asked for.
        temperature: the divisor of the logits before softmax.
        is_unknown: whether the photo is of none of the classes, as in `Prediction`; the classes are what it would be otherwise.
    """

    source: str
    class_names: tuple[str, ...]
    classes: tuple[str, ...]
    logits: NDArray[np.float32]
    bias: NDArray[np.float32]
    contributions: NDArray[np.float32]
    geometry: PatchGeometry
    photo: NDArray[np.uint8]
    blocks: NDArray[np.float32] | None = None
    occlusion: NDArray[np.float32] | None = None
    temperature: float = 1.0
    is_unknown: bool = False

    def __repr__(self) -> str:
        rows, columns = self.geometry.grid
        best = shorten(escape(self.label), _MAX_NAME)
        unknown = "unknown, else " if self.is_unknown else ""
        return f"Explanation({shorten(escape(self.source), _MAX_NAME)}: {unknown}{best}, {rows} x {columns} patches)"

    @cached_property
    def probabilities(self) -> NDArray[np.float64]:
        """The probabilities (K,) of the classes: the softmax of logits / temperature."""
        return softmax(self.logits, temperature=self.temperature)

    @property
    def label(self) -> str:
        """The most probable class."""
        return self.class_names[int(np.argmax(self.logits))]

    def map(self, label: str, *, against: str | None = None) -> NDArray[np.float32]:
        """Return the contributions (rows, columns) to the logit of a class, or to its difference to that of `against`.

        Their sum plus the bias is the logit. A number that is added to all logits changes no probability, so that differences
        say more than the contributions to one logit.

        Raises:
            ConfigError: not a class of the model.
        """
        (row,) = rows_of(self.class_names, [label])
        if against is None:
            return self.contributions[..., row]
        (other,) = rows_of(self.class_names, [against])
        return self.contributions[..., row] - self.contributions[..., other]

    @cached_property
    def scale(self) -> float:
        """The largest absolute value in the maps of `classes` and of the difference of the first two: one for all of them."""
        maps = [self.map(label) for label in self.classes]
        if len(self.classes) > 1:
            maps.append(self.map(self.classes[0], against=self.classes[1]))
        return float(np.abs(np.stack(maps)).max())

    def block_labels(self) -> list[tuple[str, float]]:
        """Return the most probable class after each block, and its probability; empty if `blocks` is None."""
        if self.blocks is None:
            return []
        probabilities = softmax(self.blocks, temperature=self.temperature)
        best = self.blocks.argmax(axis=1)
        return [(self.class_names[row], float(values[row])) for row, values in zip(best, probabilities, strict=True)]

    def to_json_object(self) -> dict[str, Any]:
        """Return the numbers of `classes` as a JSON object.

        The keys of a class: "label", "score" (its probability), "logit", "bias", "contributions" (rows of columns), and
        "occlusion" if it was computed. "unknown" is there, and true, only for a photo of none of the classes.
        """
        chosen = []
        for label, row in zip(self.classes, rows_of(self.class_names, self.classes), strict=True):
            values: dict[str, Any] = {
                "label": label,
                "score": float(self.probabilities[row]),
                "logit": float(self.logits[row]),
                "bias": float(self.bias[row]),
                "contributions": self.contributions[..., row].tolist(),
            }
            if self.occlusion is not None:
                values["occlusion"] = self.occlusion[..., row].tolist()
            chosen.append(values)
        unknown = {"unknown": True} if self.is_unknown else {}
        values = {"photo": self.source, **unknown, **self.geometry.to_json_object(), "classes": chosen}
        if self.blocks is not None:
            values["blocks"] = [{"label": label, "score": score} for label, score in self.block_labels()]
        return values


def rows_of(class_names: Sequence[str], labels: Sequence[str]) -> list[int]:
    """Return the index of each label among the class names.

    Raises:
        ConfigError: not a class of the model, or not a text.
    """
    index = {name: row for row, name in enumerate(class_names)}
    for label in labels:
        if not isinstance(label, str) or label not in index:
            guess = did_you_mean(label, class_names) if isinstance(label, str) else ""
            raise ConfigError(f"{quote(label)} is not a class of this model.{guess} Its classes are `class_names`.")
    return [index[label] for label in labels]
