"""Predictions as a table, one row per scored photo."""

from collections.abc import Iterator, Sequence

from allmlp.metrics import Metrics
from allmlp.runs.predictions import PhotoPrediction

__all__ = ["prediction_rows"]


def prediction_rows(
    metrics: Metrics, class_names: Sequence[str], *, split: str, sample_ids: Sequence[str], digests: Sequence[str]
) -> Iterator[PhotoPrediction]:
    """Yield one row per photo of a split; `sample_ids` and `digests` are in the order of the predictions."""
    columns = (sample_ids, digests, metrics.truths, metrics.predictions, metrics.confidences)
    for sample_id, digest, truth, prediction, score in zip(*columns, strict=True):
        yield PhotoPrediction(
            split=split,
            sample_id=sample_id,
            sha256=digest,
            label=class_names[truth] if truth >= 0 else "",
            prediction=class_names[prediction],
            score=float(score),
        )
