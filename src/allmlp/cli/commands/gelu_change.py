"""What another GELU changes in a model's answers, measured on photos."""

import contextlib
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from allmlp.cli.commands.evaluate import class_indices
from allmlp.cli.console import aligned
from allmlp.errors import DataError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from allmlp.checkpoints import Checkpoint
    from allmlp.data import Split

__all__ = ["measure_gelu"]

_BATCH_SIZE = 64


class _Photos(NamedTuple):
    """What to measure on; `labels` are classes of the model, int64 (n,), None where the data has none that it knows."""

    split: "Split"
    labels: "NDArray[np.int64] | None"
    what: str


def measure_gelu(before: "Checkpoint", after: "Checkpoint", data: str) -> list[str]:
    """Return lines that say how far the logits of two checkpoints lie apart, and how many photos they name differently.

    Raises:
        DataError: no photos there, or one that cannot be decoded.
    """
    import numpy as np

    photos = _photos(data, before)
    largest = change = 0.0
    best: list[NDArray[np.int64]] = []  # (2, B): the first class of each photo before and after
    for old, new in _logits(before, after, photos.split):
        largest, change = max(largest, float(np.abs(old).max())), max(change, float(np.abs(old - new).max()))
        best.append(np.stack([old.argmax(axis=1), new.argmax(axis=1)]))
    if not before.config.num_classes:
        rows = [("largest change of a feature", f"{change:.3g} (the largest feature is {largest:.3g})")]
    else:
        rows = [("largest change of a logit", f"{change:.3g} (the largest logit is {largest:.3g})")]
        rows += _top1_rows(np.concatenate(best, axis=1), photos.labels)
    return [f"measured on {photos.what}", *aligned(rows)]


def _top1_rows(best: "NDArray[np.int64]", labels: "NDArray[np.int64] | None") -> list[tuple[str, str]]:
    num_photos = best.shape[1]
    changed = int((best[0] != best[1]).sum())
    rows = [("another first class", f"{changed:,} of {num_photos:,} photos ({changed / num_photos:.2%})")]
    if labels is not None:
        old, new = (float(share) for share in (best == labels).mean(axis=1))
        rows.append(("top-1", f"{old:.2%} before, {new:.2%} after ({100 * (new - old):+.2f} points)"))
    return rows


def _photos(data: str, checkpoint: "Checkpoint") -> _Photos:
    from allmlp.data import open_dataset
    from allmlp.io.display import escape

    try:
        dataset = open_dataset(data)
    except DataError:
        if not Path(data).is_dir():
            raise
        return _unlabelled(Path(data))
    name = next(name for name in ("test", "validation", "train") if name in dataset.splits)
    split = dataset.splits[name]
    labels = None
    with contextlib.suppress(DataError):  # a class that the model does not know
        labels = class_indices(dataset.class_names, checkpoint, where=dataset.source)[split.labels]
    remark = "" if labels is not None else "; the model does not know all of its classes, so no accuracy"
    return _Photos(split, labels, f"the {len(split):,} photos of {escape(dataset.source)}, {name}{remark}")


def _unlabelled(folder: Path) -> _Photos:
    import numpy as np

    from allmlp.data import FileReader, Split, list_folder
    from allmlp.io.display import escape

    paths = tuple(sorted(list_folder(folder).photos))
    if not paths:
        raise DataError(f"{escape(folder)}: there are no photos in this folder.")
    split = Split(paths, np.zeros(len(paths), np.int64), FileReader(folder, paths))
    return _Photos(split, None, f"the {len(paths):,} photos of {escape(folder)}, which have no labels")


def _logits(
    before: "Checkpoint", after: "Checkpoint", split: "Split"
) -> "Iterator[tuple[NDArray[np.float32], NDArray[np.float32]]]":
    import numpy as np

    from allmlp.data import resized_images
    from allmlp.hardware.num_decoding_threads import num_decoding_threads
    from allmlp.inference import eager_forward

    forwards = [eager_forward(checkpoint) for checkpoint in (before, after)]
    photos = resized_images(split, before.preprocessing, num_workers=num_decoding_threads())
    while chunk := list(islice(photos, _BATCH_SIZE)):
        images = before.preprocessing.normalise(np.stack(chunk))
        yield forwards[0](images), forwards[1](images)
