"""The table of predictions is read back as it was written, and a damaged one is refused by name."""

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from allmlp.errors import ConfigError
from allmlp.runs.predictions import PhotoPrediction, read_predictions, write_predictions

SCORES = np.random.default_rng(0).random(3).astype(np.float32)
ROWS = [
    PhotoPrediction("test", "a,b\n/\udcff.jpg", "0" * 64, "a,b", '"c"', float(SCORES[0])),
    PhotoPrediction("test", "-1/=x.jpg", "1" * 64, "", "-1", float(SCORES[1])),
    PhotoPrediction("validation", "c/é.jpg", "2" * 64, "c", "c", float(SCORES[2])),
]


def test_a_table_is_read_back(tmp_path: Path) -> None:
    path = write_predictions(tmp_path / "predictions.csv", ROWS)
    found = read_predictions(path)
    assert found is not None
    assert [row[:-1] for row in found] == [row[:-1] for row in ROWS]
    assert [np.float32(row.score) for row in found] == list(SCORES)  # bit for bit, as float32
    assert read_predictions(tmp_path / "missing.csv") is None


def test_parquet_has_the_same_columns(tmp_path: Path) -> None:
    table = pq.read_table(write_predictions(tmp_path / "predictions.parquet", ROWS))
    assert table.column_names == list(PhotoPrediction._fields)
    assert table["score"].to_pylist() == [row.score for row in ROWS]
    assert table["sample_id"].to_pylist() == ["a,b\n/\\udcff.jpg", "-1/=x.jpg", "c/é.jpg"]


@pytest.mark.parametrize("score", ["", "high", "nan"])
def test_a_damaged_table_is_named(score: str, tmp_path: Path) -> None:
    path = write_predictions(tmp_path / "predictions.csv", ROWS)
    path.write_bytes(path.read_bytes() + f"test,x,{'3' * 64},a,b,{score}\n".encode())
    with pytest.raises(ConfigError, match=r"predictions\.csv: cannot be read as the predictions of a run"):
        read_predictions(path)
