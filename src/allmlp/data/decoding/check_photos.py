"""A check that every photo decodes, so that bad ones are known before training starts and not after hours."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial

import numpy as np
from numpy.typing import NDArray

from allmlp.data.dataset import ImageDataset, Split
from allmlp.data.decoding.decode import decode
from allmlp.errors import DataError
from allmlp.io.display import bullets
from allmlp.io.ordered_map import ordered_map

__all__ = ["check_photos"]

_MAX_LISTED = 50

Visit = Callable[[int, NDArray[np.uint8]], None]


def check_photos(
    dataset: ImageDataset,
    *,
    splits: Sequence[str],
    num_workers: int = 0,
    progress: Callable[[int, int], None] | None = None,
    visit: Callable[[str, int, NDArray[np.uint8]], None] | None = None,
) -> None:
    """Decode every photo of these splits, in `num_workers` threads (0: in the calling one).

    `progress(done, total)` is called after each photo, in the calling thread; `visit(split, index, photo)` is given each
    decoded photo (height, width, 3) in the thread that decoded it, so that nothing needs to be decoded twice.

    Raises:
        DataError: one error naming every photo that cannot be used, with the reason, by split and sample ID; beyond 50
            the rest is counted.
    """
    total = sum(len(dataset.splits[name]) for name in splits)
    done = 0
    bad: list[str] = []
    for name in splits:
        troubles: dict[int, str] = {}
        for index, trouble in _troubles(dataset.splits[name], num_workers, partial(visit, name) if visit else None):
            if trouble is not None:
                troubles[index] = trouble
            done += 1
            if progress is not None:
                progress(done, total)
        bad += [troubles[index] for index in sorted(troubles)]
    if bad:
        raise DataError(
            f"{len(bad):,} of {total:,} photos cannot be used. Replace or remove each:\n"
            + bullets(bad, limit=_MAX_LISTED)
        )


def _troubles(split: Split, num_workers: int, visit: Visit | None) -> Iterator[tuple[int, str | None]]:
    order = split.storage_order().tolist()
    # Threads, not processes: decoding releases the interpreter, and there is nothing to start or to copy.
    yield from zip(order, ordered_map(lambda index: _trouble(split, index, visit), order, num_workers), strict=True)


def _trouble(split: Split, index: int, visit: Visit | None) -> str | None:
    try:
        photo = decode(split.read(index), name=split.where(index))
    except DataError as error:
        return str(error)  # the error itself would keep the photo in memory through its traceback
    if visit is not None:
        visit(index, photo)
    return None
