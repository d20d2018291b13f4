"""Exact nearest photos in a folder of features, read part by part."""

import heapq
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from allmlp.bulk.part_files import part_path
from allmlp.bulk.result_folder import ResultFolder
from allmlp.errors import ConfigError, DataError
from allmlp.inference import nearest
from allmlp.io.display import Progress, escape, no_progress

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["Match", "search_parts"]

_ROWS = 16_384  # read at a time


class Match(NamedTuple):
    """A photo by its number in the plan and its path, and the cosine of the angle between its features and the query's."""

    number: int
    path: str
    similarity: float


def search_parts(
    results: ResultFolder, query: NDArray[np.float32], *, top_k: int, progress: Progress = no_progress
) -> tuple[list[Match], int]:
    """Return the photos that are most similar to the features `query` (C,), best first, and how many were compared.

    Of equal photos, the first of the plan comes first. Parts that are not done are left out; so are photos with an error.

    Raises:
        ConfigError: the folder holds predictions, or has a file that is not of its plan.
        DataError: a part is damaged, or none is done.
    """
    plan = results.plan
    if plan.task != "embed":
        raise ConfigError(
            f"{escape(results.path)}: holds predictions, not features. Write features with `allmlp embed --out FOLDER/`."
        )
    done = [part for part, state in enumerate(results.states()) if state.is_done]
    if not done:
        raise DataError(f"{escape(results.path)}: no part is done yet. Run the `allmlp embed` command again.")
    best: list[Match] = []
    num_compared = 0
    for count, part in enumerate(done, start=1):
        for indices, paths, features in _batches(part_path(results.path, part)):
            found = nearest(features, query, top_k=top_k)
            num_compared += len(features)
            best += [Match(int(indices[row]), paths[row].as_py(), similarity) for row, similarity in found]
        best = heapq.nsmallest(top_k, best, key=lambda match: (-match.similarity, match.number))
        progress(count, len(done))
    return best, num_compared


def _batches(path: Path) -> "Iterator[tuple[NDArray[np.int64], pa.Array, NDArray[np.float32]]]":
    """Yield the numbers, paths and features of the photos in a part that have features."""
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path, page_checksum_verification=True) as file:
            for batch in file.iter_batches(_ROWS, columns=["index", "path", "features"]):
                rows = batch.filter(batch["features"].is_valid())
                vectors = rows["features"]
                features = vectors.flatten().to_numpy().reshape(len(rows), vectors.type.list_size)
                yield rows["index"].to_numpy(), rows["path"], features
    except Exception as error:  # of any type, of pyarrow
        raise DataError(
            f"{escape(path)}: this part is damaged ({escape(str(error).splitlines()[0])}). Delete it, and run the command "
            "that wrote it again."
        ) from error
