"""Check that every photo decodes, so that bad ones are reported before training starts rather than hours later."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial

import numpy as np
from numpy.typing import NDArray

from allmlp.data.dataset import ImageDataset, Split
from allmlp.data.decoding.decode import decode
from allmlp.data.decoding.reasons import ShortageError, problem_of
from allmlp.data.digests import CHANGED
from allmlp.errors import DataError
from allmlp.io.display import bullets
from allmlp.io.ordered_map import ordered_map

__all__ = ["check_photos", "problems_of"]

_MAX_LISTED = 50

Visit = Callable[[int, NDArray[np.uint8]], None]


def check_photos(
    dataset: ImageDataset,
    *,
    splits: Sequence[str],
    num_workers: int = 0,
    progress: Callable[[int, int], None] | None = None,
    visit: Callable[[str, int, NDArray[np.uint8]], None] | None = None,
    can_skip: bool = True,
) -> None:
    """Decode every photo of these splits in `num_workers` threads (0: in the calling thread).

    `progress(done, total)` is called after each photo, in the calling thread. `visit(split, index, image)` receives each
    decoded photo (height, width, 3) in the thread that decoded it, so that nothing has to be decoded twice.
    `can_skip` says whether the caller has the option --bad-photos, which the message then names.

    Raises:
        DataError: photos that cannot be used, listed with their reasons by split and sample ID, and counted beyond 50.
    """
    problems = problems_of(dataset, splits=splits, num_workers=num_workers, progress=progress, visit=visit)
    bad = [problem for found in problems.values() for problem in found.values()]
    if bad:
        total = sum(len(dataset.splits[name]) for name in splits)
        # A run goes on only with its own photos: neither others nor fewer.
        is_changed = any(f": {CHANGED}" in problem for problem in bad)
        skip = ", or leave them out with --bad-photos skip" if can_skip else ""
        advice = "" if is_changed else f". Replace or remove them{skip}"
        raise DataError(f"{len(bad):,} of {total:,} photos cannot be used{advice}:\n{bullets(bad, limit=_MAX_LISTED)}")


def problems_of(
    dataset: ImageDataset,
    *,
    splits: Sequence[str],
    num_workers: int = 0,
    progress: Callable[[int, int], None] | None = None,
    visit: Callable[[str, int, NDArray[np.uint8]], None] | None = None,
) -> dict[str, dict[int, str]]:
    """Return why photos cannot be used, by split and index, in this order; for the arguments see `check_photos`."""
    total = sum(len(dataset.splits[name]) for name in splits)
    done = 0
    problems: dict[str, dict[int, str]] = {}
    for name in splits:
        found: dict[int, str] = {}
        for index, problem in _problems(dataset.splits[name], num_workers, partial(visit, name) if visit else None):
            if problem is not None:
                found[index] = problem
            done += 1
            if progress is not None:
                progress(done, total)
        problems[name] = {index: found[index] for index in sorted(found)}
    return problems


def _problems(split: Split, num_workers: int, visit: Visit | None) -> Iterator[tuple[int, str | None]]:
    order = split.storage_order().tolist()
    # Threads, not processes: decoding releases the GIL, and nothing has to be started or copied.
    yield from zip(order, ordered_map(lambda index: _problem(split, index, visit), order, num_workers), strict=True)


def _problem(split: Split, index: int, visit: Visit | None) -> str | None:
    try:
        image = decode(split.read(index), name=split.where(index))
    except ShortageError:
        raise
    except DataError as error:
        # Not the error itself: its traceback would keep the photo in memory.
        return f"{split.where(index)}: {problem_of(error, split.where(index))}"
    if visit is not None:
        visit(index, image)
    return None
