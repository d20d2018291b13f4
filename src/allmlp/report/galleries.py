"""Choice of the photos that a report shows: the worst mistakes, the least sure answers and the surest hits."""

import contextlib
from collections.abc import Iterable, Sequence

import numpy as np

from allmlp.data import Split, decode
from allmlp.errors import DataError
from allmlp.metrics import Metrics
from allmlp.report.pictures import reduce_photo
from allmlp.report.summary import Galleries, ShownPhoto

__all__ = ["choose_galleries"]

MAX_MISTAKES = 25
MAX_UNSURE = 10
MAX_HITS = 10


def choose_galleries(photos: Split, metrics: Metrics, class_names: Sequence[str]) -> Galleries:
    """Return the photos to show; `metrics` are the scores of `photos`, in the same order, and `class_names` the model's.

    Photos that can no longer be read are left out.
    """
    is_right, is_labelled = metrics.predictions == metrics.truths, metrics.truths >= 0
    sure_first = np.argsort(-metrics.confidences, kind="stable")
    wrong = sure_first[(is_labelled & ~is_right)[sure_first]][:MAX_MISTAKES]
    right = sure_first[is_right[sure_first]][:MAX_HITS]
    unsure = np.argsort(metrics.confidences, kind="stable")
    unsure = unsure[is_labelled[unsure]][:MAX_UNSURE]

    def shown(indices: Iterable[int]) -> tuple[ShownPhoto, ...]:
        found = []
        for index in map(int, indices):
            with contextlib.suppress(DataError):
                photo = reduce_photo(decode(photos.read(index), name=photos.where(index)))
                found.append(
                    ShownPhoto(
                        sample_id=photos.sample_ids[index],
                        photo=photo,
                        truth=class_names[metrics.truths[index]],
                        prediction=class_names[metrics.predictions[index]],
                        confidence=float(metrics.confidences[index]),
                    )
                )
        return tuple(found)

    return Galleries(mistakes=shown(wrong), unsure=shown(unsure), hits=shown(right))
