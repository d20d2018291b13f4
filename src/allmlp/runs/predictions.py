"""Table of predictions, one row per scored photo: predictions.csv in a run folder, or what `allmlp evaluate` writes."""

import math
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from allmlp.io.atomic_write import write_bytes
from allmlp.io.display import utf8
from allmlp.runs.photo_table import read_table, write_table

__all__ = ["PhotoPrediction", "read_predictions", "write_predictions"]


class PhotoPrediction(NamedTuple):
    """The prediction for a photo; `label` is "" for a photo without a label, `score` the probability of `prediction`."""

    split: str
    sample_id: str
    sha256: str
    label: str
    prediction: str
    score: float


def write_predictions(path: Path, rows: Iterable[PhotoPrediction]) -> Path:
    """Write the table: Parquet if the name ends in .parquet, else CSV. Scores keep all digits of a float32.

    Raises:
        ConfigError: the disk is full or the folder is not writable.
    """
    if path.suffix.lower() == ".parquet":
        return _write_parquet(path, list(rows))
    write_table(path, PhotoPrediction._fields, ([*row[:-1], f"{row.score:.9g}"] for row in rows))
    return path


def read_predictions(path: Path) -> list[PhotoPrediction] | None:
    """Return the rows of a run's predictions.csv; None if there is no file, as in runs of older versions.

    Raises:
        ConfigError: the file cannot be read, or is not what `write_predictions` writes.
    """
    if not path.exists():
        return None
    advice = "Restore it, or delete it: then the photos are scored again."
    rows = read_table(
        path, PhotoPrediction._fields, what="the predictions", advice=advice, is_valid=lambda row: _is_score(row[-1])
    )
    return [
        PhotoPrediction(split, sample_id, sha256, label, prediction, float(score))
        for split, sample_id, sha256, label, prediction, score in rows
    ]


def _is_score(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False


def _write_parquet(path: Path, rows: list[PhotoPrediction]) -> Path:
    import io

    import pyarrow as pa
    import pyarrow.parquet as pq

    # Parquet's text is UTF-8; a file name that is not is written with escapes.
    texts = {
        name: pa.array([utf8(str(row[index])) for row in rows], pa.string())
        for index, name in enumerate(PhotoPrediction._fields[:-1])
    }
    table = pa.table({**texts, "score": pa.array([row.score for row in rows], pa.float32())})
    file = io.BytesIO()
    pq.write_table(table, file)
    return write_bytes(path, file.getvalue())
