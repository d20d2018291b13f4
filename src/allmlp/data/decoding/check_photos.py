"""Check that every photo decodes, so that bad ones are reported before training starts rather than hours later."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from allmlp.data.dataset import ImageDataset, Split
from allmlp.data.decoding.decode import decode
from allmlp.data.photo_digest import photo_digest
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
) -> dict[str, tuple[str, ...]]:
    """Decode every photo of these splits in `num_workers` threads (0: in the calling thread), and return their digests.

    The digests of a split are in the order of its photos: with them, copies are found without reading anything twice.

    `progress(done, total)` is called after each photo, in the calling thread. `visit(split, index, image)` receives each
    decoded photo (height, width, 3) in the thread that decoded it, so that nothing has to be decoded twice.

    Raises:
        DataError: photos that cannot be used, listed with their reasons by split and sample ID, and counted beyond 50.
    """
    total = sum(len(dataset.splits[name]) for name in splits)
    done = 0
    bad: list[str] = []
    digests: dict[str, tuple[str, ...]] = {}
    for name in splits:
        problems: dict[int, str] = {}
        found = [""] * len(dataset.splits[name])
        for index, photo in _checked(dataset.splits[name], num_workers, partial(visit, name) if visit else None):
            found[index] = photo.digest
            if photo.problem is not None:
                problems[index] = photo.problem
            done += 1
            if progress is not None:
                progress(done, total)
        bad += [problems[index] for index in sorted(problems)]
        digests[name] = tuple(found)
    if bad:
        raise DataError(
            f"{len(bad):,} of {total:,} photos cannot be used. Replace or remove them:\n"
            + bullets(bad, limit=_MAX_LISTED)
        )
    return digests


class _Checked(NamedTuple):
    digest: str
    problem: str | None


def _checked(split: Split, num_workers: int, visit: Visit | None) -> Iterator[tuple[int, _Checked]]:
    order = split.storage_order().tolist()
    # Threads, not processes: decoding releases the GIL, and nothing has to be started or copied.
    yield from zip(order, ordered_map(lambda index: _check(split, index, visit), order, num_workers), strict=True)


def _check(split: Split, index: int, visit: Visit | None) -> _Checked:
    digest = ""
    try:
        content = split.read(index)
        digest = photo_digest(content)
        image = decode(content, name=split.where(index))
    except DataError as error:
        return _Checked(digest, str(error))  # the traceback of the error itself would keep the photo in memory
    if visit is not None:
        visit(index, image)
    return _Checked(digest, None)
