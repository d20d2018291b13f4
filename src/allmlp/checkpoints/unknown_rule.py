"""`UnknownRule`: which photos a model answers "unknown" for."""

import base64
import binascii
import math
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from allmlp.errors import CheckpointError

__all__ = ["UnknownRule", "encode_statistics"]

_MAX_ROWS = 65


@dataclass(frozen=True, kw_only=True)
class UnknownRule:
    """A photo is of none of the classes if its score is below a threshold, which was fitted on photos of the classes.

    Attributes:
        score: "closeness", minus the squared Mahalanobis distance of the features to those of photos of the classes.
        threshold: the photos that reach it are known.
        kept: the share of the photos of the classes that reached it, at least, in 0..1: 0.95 unless another was chosen.
        num_photos: the number of photos that it was fitted on.
        statistics: of the features of these photos, (1 + r, C + 1) little-endian float32 in base64.

    Raises:
        CheckpointError: another score, a value out of range, or no statistics.
    """

    score: Literal["closeness"] = "closeness"
    threshold: float
    kept: float
    num_photos: int
    statistics: str = field(default="", repr=False)

    def __post_init__(self) -> None:
        problems = []
        if self.score != "closeness":
            problems.append(f"score is {str(self.score)[:80]!r}; expected 'closeness'")
        if not _is_number(self.threshold):
            problems.append(f"threshold is {str(self.threshold)[:80]}; expected a finite number")
        if not _is_number(self.kept) or not 0 < self.kept <= 1:
            problems.append(f"kept is {str(self.kept)[:80]}; expected a share over 0 and at most 1")
        if isinstance(self.num_photos, bool) or not isinstance(self.num_photos, int) or self.num_photos < 1:
            problems.append(f"num_photos is {str(self.num_photos)[:80]}; expected at least 1")
        if not self.statistics:
            problems.append("the statistics of the features are missing")
        if problems:
            raise CheckpointError(f"unknown: {'; '.join(problems)}.")

    def matrix(self, num_features: int) -> NDArray[np.float32]:
        """Return the statistics (1 + r, C + 1) of a model with C features.

        Raises:
            CheckpointError: they are damaged, or of another model.
        """
        width = 4 * (num_features + 1)
        try:
            content = base64.b64decode(self.statistics, validate=True)
            if not content or len(content) % width or len(content) > _MAX_ROWS * width:
                raise ValueError(f"{len(content)} bytes for {num_features} features")
            matrix = np.frombuffer(content, "<f4").reshape(-1, num_features + 1).astype(np.float32)
            if not np.isfinite(matrix).all() or (matrix[:, -1] <= 0).any():
                raise ValueError("a value is not finite, or a variance not positive")
        except (ValueError, binascii.Error) as error:
            raise CheckpointError(f"unknown: the statistics of the features are invalid ({error}).") from error
        return matrix


def encode_statistics(matrix: NDArray[np.float32]) -> str:
    """Return the text for `UnknownRule.statistics`."""
    return base64.b64encode(np.ascontiguousarray(matrix, "<f4").tobytes()).decode("ascii")


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
