"""The rows of a part as a table: one per photo, in the order of the list, whether it could be read or not.

Columns: `index` (int64, the photo's number in the plan), `path` (text), then those of the task, null for a photo that could not
be read, and last `error`: why it could not, null if it could.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from allmlp.bulk.plan import Plan
from allmlp.data import ShortageError
from allmlp.errors import DataError
from allmlp.inference import Embedder, Prediction, Predictor, RunnableModel, StoredPhoto
from allmlp.io.display import utf8

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["Task", "open_task"]

Answer = tuple[str, Any]
"""The name of a photo, and what the model answers for it, or the DataError."""


class Task:
    """Turns photos into a table with the model of a plan."""

    def __init__(
        self,
        stream: Callable[[Iterable[StoredPhoto]], Iterator[Any]],
        columns: "Callable[[Sequence[Any]], dict[str, pa.Array]]",
    ) -> None:
        self._stream = stream
        self._columns = columns

    def table(
        self, rows: range, names: Sequence[str], photos: Iterable[StoredPhoto], *, advance: Callable[[], None]
    ) -> "tuple[pa.Table, int]":
        """Return the table of photos with these numbers and names, and how many have errors. `advance` is called after each.

        Raises:
            ShortageError: the machine lacks memory, open files or the disk, so that nothing is known about the photo.
            DataError: a file with many photos is missing or damaged.
            CheckpointError: the model's outputs are not finite.
        """
        import pyarrow as pa

        answers: list[Any] = []
        errors: list[str | None] = []
        for answer in self._stream(photos):
            if isinstance(answer, ShortageError):
                raise answer
            is_error = isinstance(answer, DataError)
            answers.append(None if is_error else answer)
            errors.append(utf8(str(answer)) if is_error else None)
            advance()
        columns = {
            "index": pa.array(np.arange(rows.start, rows.stop, dtype=np.int64)),
            "path": pa.array([utf8(name) for name in names], pa.string()),
            **self._columns(answers),
            "error": pa.array(errors, pa.string()),
        }
        return pa.table(columns), len(errors) - errors.count(None)


def open_task(plan: Plan, model: RunnableModel, *, batch_size: int) -> Task:
    """Return the task of a plan.

    Raises:
        ConfigError: the model has no classifier, and the plan is to predict.
    """
    if plan.task == "embed":
        embedder = Embedder(model, batch_size=batch_size)
        width = embedder.num_features
        return Task(
            lambda photos: (row for _, row in embedder.stream(photos)), lambda rows: {"features": _vectors(rows, width)}
        )
    options = plan.options
    predictor = Predictor(model, batch_size=batch_size, unknown=options.unknown)
    num_ranks = min(options.top_k, len(predictor.class_names))
    return Task(
        lambda photos: predictor.stream(photos, top_k=options.top_k, flip=options.flip),
        lambda predictions: _predictions(predictions, num_ranks, options.min_score, predictor.has_unknown),
    )


def _predictions(
    predictions: Sequence[Prediction | None], num_ranks: int, min_score: float | None, has_unknown: bool
) -> "dict[str, pa.Array]":
    import pyarrow as pa

    columns = {}
    if has_unknown:
        columns["unknown"] = pa.array([None if each is None else each.is_unknown for each in predictions], pa.bool_())
    if min_score is not None:
        unsure = [None if each is None else each.score < min_score for each in predictions]
        columns["unsure"] = pa.array(unsure, pa.bool_())
    for rank in range(num_ranks):
        best = [None if each is None else each.labels[rank] for each in predictions]
        labels = [None if each is None else each["label"] for each in best]
        scores = [None if each is None else each["score"] for each in best]
        columns[f"label_{rank + 1}"] = pa.array(labels, pa.string())
        columns[f"score_{rank + 1}"] = pa.array(scores, pa.float64())
    return columns


def _vectors(rows: Sequence[Any], width: int) -> "pa.Array":
    import pyarrow as pa

    empty = np.zeros(width, dtype=np.float32)
    values = np.stack([empty if row is None else row for row in rows])
    missing = pa.array([row is None for row in rows], pa.bool_())
    return pa.FixedSizeListArray.from_arrays(pa.array(values.ravel()), width, mask=missing)
