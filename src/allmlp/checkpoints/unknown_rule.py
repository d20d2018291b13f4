"""`UnknownRule`: which photos a model answers "unknown" for."""

import math
from dataclasses import dataclass
from typing import Literal, get_args

from allmlp.errors import CheckpointError

__all__ = ["KnownScore", "UnknownRule"]

KnownScore = Literal["energy", "probability", "logit"]
"""What is compared with the threshold: log sum exp of the logits, the largest probability, or the largest logit."""


@dataclass(frozen=True, kw_only=True)
class UnknownRule:
    """A photo is of none of the classes if its score is below a threshold, which was fitted on photos of the classes.

    Attributes:
        score: of the logits, at temperature 1; high for photos of the classes.
        threshold: the photos that reach it are known.
        kept: the share of the photos of the classes that reached it, at least, in 0..1: 0.95 unless another was chosen.
        num_photos: the number of photos that it was fitted on.

    Raises:
        CheckpointError: an unknown score, or a value out of range.
    """

    score: KnownScore
    threshold: float
    kept: float
    num_photos: int

    def __post_init__(self) -> None:
        problems = []
        if self.score not in get_args(KnownScore):
            problems.append(f"score is {str(self.score)[:80]!r}; expected {', '.join(get_args(KnownScore))}")
        if not _is_number(self.threshold):
            problems.append(f"threshold is {str(self.threshold)[:80]}; expected a finite number")
        if not _is_number(self.kept) or not 0 < self.kept <= 1:
            problems.append(f"kept is {str(self.kept)[:80]}; expected a share over 0 and at most 1")
        if isinstance(self.num_photos, bool) or not isinstance(self.num_photos, int) or self.num_photos < 1:
            problems.append(f"num_photos is {str(self.num_photos)[:80]}; expected at least 1")
        if problems:
            raise CheckpointError(f"unknown: {'; '.join(problems)}.")


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
