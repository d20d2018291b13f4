"""The photos that calibrate and that judge an int8 export, and its answers for the latter next to those of float32."""

import hashlib
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from allmlp.checkpoints import Checkpoint
from allmlp.data import Split, default_split, resized_images
from allmlp.errors import DataError
from allmlp.evaluation import UNNAMED, Answers, ComparedPhotos, changed_answers, photos_by_split
from allmlp.hardware.num_decoding_threads import num_decoding_threads
from allmlp.metrics import softmax, wilson_interval

__all__ = ["CLEAR_MARGIN", "Judged", "JudgingPhotos", "divide_photos", "image_batches", "judge"]

CLEAR_MARGIN = 0.1
"""Between the two largest probabilities: below it, a photo's class may change by rounding alone."""

_MAX_CALIBRATION_PHOTOS, _MAX_JUDGING_PHOTOS = 256, 2000
_MIN_CALIBRATION_PHOTOS, _MIN_JUDGING_PHOTOS = 2, 4
_CALIBRATION_SPLITS = ("validation", "train")  # the first that does not judge
_BATCH_SIZE = 32


@dataclass(frozen=True, kw_only=True)
class Judged:
    """The answers of one attempt on the judging photos, next to float32's.

    Attributes:
        attempt: which layers became int8.
        num_photos, num_same: how many, and how many with the answer of float32: its class, and whether they are "unknown".
        num_unknown_changed: photos that became "unknown", or no longer are.
        num_clear, num_clear_same: the first two, of photos whose two most probable classes differ by over 0.1 in float32.
        num_correct: (float32, int8); None without labels.
    """

    attempt: str
    num_photos: int
    num_same: int
    num_unknown_changed: int
    num_clear: int
    num_clear_same: int
    num_correct: tuple[int, int] | None

    @property
    def agreement(self) -> float:
        """The share of photos with the answer of float32."""
        return self.num_same / self.num_photos

    @property
    def clear_agreement(self) -> float:
        """The same of the clear photos; 1 if there is none."""
        return self.num_clear_same / self.num_clear if self.num_clear else 1.0

    def to_dict(self) -> dict[str, Any]:
        """Return the values as JSON, with the accuracies and their 95 % intervals."""
        values = {**asdict(self), "agreement": self.agreement, "clear_agreement": self.clear_agreement}
        values["agreement_interval"] = list(wilson_interval(self.num_same, self.num_photos))
        if self.num_correct is not None:
            values["num_correct"] = list(self.num_correct)
            for name, correct in zip(("float32", "int8"), self.num_correct, strict=True):
                low, high = wilson_interval(correct, self.num_photos)
                values[name] = {"top1": correct / self.num_photos, "low": low, "high": high}
        return values


@dataclass(frozen=True, kw_only=True)
class JudgingPhotos:
    """Photos that no range depends on.

    Attributes:
        images: uint8 (n, H, W, 3).
        labels: indices of the model's classes, or None.
        split: their split; "" if they have none.
        calibration_split: that of the photos that calibrate; if it is the same, it was divided.
    """

    images: NDArray[np.uint8]
    labels: NDArray[np.int64] | None
    split: str
    calibration_split: str


def divide_photos(checkpoint: Checkpoint, photos: str | Path) -> tuple[NDArray[np.uint8], JudgingPhotos]:
    """Return the photos that calibrate and those that judge, resized. A photo's part depends on nothing but the sample IDs.

    The split that `evaluate` scores judges, and validation calibrates, else train: what is scored set no range. Of a single
    split, or a folder without labels, a third calibrates. At most 256 photos calibrate, and at most 2,000 judge.

    Raises:
        DataError: no photos at `photos`, or fewer than 2 to calibrate or 4 to judge.
    """
    found = photos_by_split(photos, checkpoint.description)
    judging = UNNAMED if UNNAMED in found else default_split(found)
    calibration = next((name for name in _CALIBRATION_SPLITS if name in found and name != judging), judging)
    to_calibrate, to_judge = (_in_fixed_order(found[name].split) for name in (calibration, judging))
    if calibration == judging:
        if len(to_judge) < _MIN_CALIBRATION_PHOTOS + _MIN_JUDGING_PHOTOS:
            raise _too_few(found[judging], "calibrate and to judge", _MIN_CALIBRATION_PHOTOS + _MIN_JUDGING_PHOTOS)
        number = min(len(to_judge) // 3, _MAX_CALIBRATION_PHOTOS)
        to_calibrate, to_judge = to_judge[:number], to_judge[number:]
    if len(to_calibrate) < _MIN_CALIBRATION_PHOTOS:
        raise _too_few(found[calibration], "calibrate", _MIN_CALIBRATION_PHOTOS)
    if len(to_judge) < _MIN_JUDGING_PHOTOS:
        raise _too_few(found[judging], "judge", _MIN_JUDGING_PHOTOS)
    to_calibrate, to_judge = np.sort(to_calibrate[:_MAX_CALIBRATION_PHOTOS]), np.sort(to_judge[:_MAX_JUDGING_PHOTOS])
    labels = found[judging].labels
    judging_photos = JudgingPhotos(
        images=_resized(checkpoint, found[judging].split, to_judge),
        labels=None if labels is None else labels[to_judge],
        split=judging,
        calibration_split=calibration,
    )
    return _resized(checkpoint, found[calibration].split, to_calibrate), judging_photos


def _in_fixed_order(split: Split) -> NDArray[np.int64]:
    """Return the indices of all photos, ordered by digests of their sample IDs."""
    # The sample IDs of a folder without labels are file names, in which bytes that are not UTF-8 are surrogates.
    digests = [hashlib.sha256(name.encode("utf-8", "surrogateescape")).digest() for name in split.sample_ids]
    return np.array(sorted(range(len(split)), key=digests.__getitem__), np.int64)


def _too_few(photos: ComparedPhotos, use: str, least: int) -> DataError:
    return DataError(f"{photos.description}: too few to {use}. Give some hundreds, at least {least}.")


def _resized(checkpoint: Checkpoint, split: Split, indices: NDArray[np.int64]) -> NDArray[np.uint8]:
    photos = resized_images(split.subset(indices), checkpoint.preprocessing, num_workers=num_decoding_threads())
    return np.stack(list(photos))


def image_batches(images: NDArray[np.uint8]) -> Iterator[NDArray[np.uint8]]:
    """Yield images (n, H, W, 3) in batches."""
    for start in range(0, len(images), _BATCH_SIZE):
        yield images[start : start + _BATCH_SIZE]


def judge(
    attempt: str, before: Answers, after: Answers, labels: NDArray[np.int64] | None, temperature: float
) -> Judged:
    """Return how the answers of an attempt, `after`, agree with those of float32, `before`."""
    changed = changed_answers(before, after)
    is_same = ~(changed.by_class | changed.by_unknown)
    ordered = np.sort(softmax(before.logits, temperature=temperature), axis=1)
    is_clear = ordered[:, -1] - (ordered[:, -2] if ordered.shape[1] > 1 else 0) > CLEAR_MARGIN
    correct = None if labels is None else tuple(int((each.classes == labels).sum()) for each in (before, after))
    return Judged(
        attempt=attempt,
        num_photos=len(is_same),
        num_same=changed.num_same,
        num_unknown_changed=int(changed.by_unknown.sum()),
        num_clear=int(is_clear.sum()),
        num_clear_same=int((is_same & is_clear).sum()),
        num_correct=None if correct is None else (correct[0], correct[1]),
    )
