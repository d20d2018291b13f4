"""Likely label errors of a finished run: found by its predictions of photos that it did not train on, and acted on."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from allmlp.checkpoints import load_checkpoint
from allmlp.data import (
    ImageDataset,
    LabelError,
    PhotoMove,
    Split,
    carry_out,
    new_log_path,
    open_dataset,
    photo_path,
    plan_moves,
    read_choices,
    undo,
    with_digests,
)
from allmlp.errors import ConfigError
from allmlp.hardware.devices import choose_device
from allmlp.io.display import counted, escape
from allmlp.metrics import likely_label_errors, normalized_margins, softmax
from allmlp.report import LabelErrors
from allmlp.runs.layout import RunLayout
from allmlp.runs.photo_digests import read_photo_digests
from allmlp.training.reporting.out_of_fold import predict_split, read_fold
from allmlp.training.reporting.stored_results import require_run
from allmlp.training.stored_run import StoredRun, photos_of_run, stored_digests

__all__ = ["CleanedPhotos", "clean_photos", "find_label_errors", "undo_cleaning"]


@dataclass(frozen=True, kw_only=True)
class CleanedPhotos:
    """What `clean_photos` did: `moves`, in order, and the `log` with which `undo_cleaning` undoes them; None without moves."""

    moves: tuple[PhotoMove, ...]
    log: Path | None


def find_label_errors(run: str | Path, *, device: str = "auto") -> LabelErrors:
    """Find photos of a finished run whose labels are probably wrong; `allmlp clean` does the same.

    A photo is judged by a model that did not train on it: all training photos after cross-validation, by the logits of the
    folds, and otherwise the validation photos; and the test photos. See `likely_label_errors`.

    Args:
        run: the run folder.
        device: for validation and test photos: "auto", "cpu", "cuda" or "mps".

    Raises:
        ConfigError: not a finished run, or a file in it cannot be read.
        DataError: its photos cannot be read, or have changed.
        CheckpointError: its best checkpoint cannot be read.
    """
    stored = _finished(Path(run))
    dataset = photos_of_run(stored)
    digests = stored_digests(dataset, stored)
    judged, logits = [], []
    for name, indices, values in _predictions(stored, dataset, digests, device=device):
        judged += [(name, index) for index in indices]
        logits.append(values)
    temperature = load_checkpoint(RunLayout(stored.path).checkpoint("best")).temperature
    probabilities = softmax(np.concatenate(logits), temperature=temperature)
    labels = np.array([dataset.splits[name].labels[index] for name, index in judged], np.int64)
    found = likely_label_errors(probabilities, labels)
    chosen = [judged[index] for index in found]
    return LabelErrors(
        run=stored.path,
        source=dataset.source,
        class_names=dataset.class_names,
        num_judged=len(judged),
        num_photos=sum(map(len, dataset.splits.values())),
        errors=tuple(_errors(dataset, chosen, probabilities[found], labels[found])),
        photos=tuple((_verified(dataset, digests, name), index) for name, index in chosen),
        notes=(*_notes(stored, dataset, judged), _agreement(probabilities, labels)),
    )


def clean_photos(run: str | Path, table: str | Path) -> CleanedPhotos:
    """Carry out the actions in a table of label errors; `allmlp clean --apply` does the same.

    "move" puts a photo into the folder of the class in the column "to", or else of the predicted class; "delete" puts it into
    the folder PHOTOS-removed next to the photos. Nothing is overwritten or deleted, and each photo is first compared with the
    SHA-256 that the run read. A log is written next to the table.

    Raises:
        ConfigError: not a finished run, or a file in it cannot be read.
        DataError: the photos are not a folder of files, the table is invalid, or a photo cannot be moved. The message lists
            what was moved before.
    """
    stored = _finished(Path(run))
    digests = read_photo_digests(RunLayout(stored.path).photos)
    if digests is None:
        raise ConfigError(
            f"{escape(RunLayout(stored.path).photos)}: missing, so that nothing says which photos the run read. Restore it, or "
            "train again; nothing was moved."
        )
    moves = plan_moves(open_dataset(stored.data, **stored.options), digests, read_choices(Path(table)))
    if not moves:
        return CleanedPhotos(moves=(), log=None)
    log = new_log_path(Path(table))
    return CleanedPhotos(moves=tuple(carry_out(moves, log)), log=log)


def undo_cleaning(log: str | Path) -> tuple[PhotoMove, ...]:
    """Move the photos back that `clean_photos` moved, and return these moves; `allmlp clean --undo` does the same.

    Raises:
        DataError: the log cannot be read, a photo has changed, or another file has its name.
    """
    return tuple(undo(Path(log)))


def _finished(path: Path) -> StoredRun:
    stored = require_run(path)
    if not stored.is_finished:
        raise ConfigError(
            f"{escape(path)}: this run is not finished, so that it has no predictions to compare labels with. Continue it: "
            f"`allmlp train --resume {escape(path)}`."
        )
    return stored


def _predictions(
    stored: StoredRun, dataset: ImageDataset, digests: dict[str, list[str]] | None, *, device: str
) -> Iterator[tuple[str, list[int], NDArray[np.float32]]]:
    """Yield splits, indices of photos in them, and the logits (n, K) of models that did not train on these photos."""
    layout = RunLayout(stored.path)
    if stored.recipe.data.folds:
        index_of = {sample_id: index for index, sample_id in enumerate(dataset.splits["train"].sample_ids)}
        for number in range(1, stored.recipe.data.folds + 1):
            path = layout.fold_predictions(number)
            sample_ids, logits, *_ = read_fold(path)
            if not index_of.keys() >= set(sample_ids) or logits.shape[1] != len(dataset.class_names):
                raise ConfigError(f"{escape(path)}: not the predictions of this run's photos. Restore the file.")
            yield "train", [index_of[sample_id] for sample_id in sample_ids], logits
    checkpoint = load_checkpoint(layout.checkpoint("best"))
    for name in ("validation", "test"):
        if name in dataset.splits:
            split = _verified(dataset, digests, name)
            yield name, list(range(len(split))), predict_split(checkpoint, split, device=choose_device(device))


def _verified(dataset: ImageDataset, digests: dict[str, list[str]] | None, name: str) -> Split:
    """Return a split that refuses photos which have changed since the run read them."""
    return dataset.splits[name] if digests is None else with_digests(dataset.splits[name], digests[name])


def _errors(
    dataset: ImageDataset,
    photos: list[tuple[str, int]],
    probabilities: NDArray[np.float64],
    labels: NDArray[np.int64],
) -> Iterator[LabelError]:
    scores = normalized_margins(probabilities, labels)
    for (name, index), values, label, score in zip(photos, probabilities, labels, scores, strict=True):
        predicted = int(values.argmax())
        yield LabelError(
            path=photo_path(dataset.splits[name], index),
            given=dataset.class_names[label],
            predicted=dataset.class_names[predicted],
            score=float(score),
            given_probability=float(values[label]),
            predicted_probability=float(values[predicted]),
        )


def _agreement(probabilities: NDArray[np.float64], labels: NDArray[np.int64]) -> str:
    share = float((probabilities.argmax(axis=1) == labels).mean())
    return (
        f"The models agree with {100 * share:.0f} % of the labels. The weaker the models, the more photos of this list are "
        "labelled right and merely hard."
    )


def _notes(stored: StoredRun, dataset: ImageDataset, judged: list[tuple[str, int]]) -> tuple[str, ...]:
    num_left = sum(map(len, dataset.splits.values())) - len(judged)
    if not num_left:
        return ()
    if stored.recipe.data.folds:
        return (f"{counted(num_left, 'photo')} could not be judged: no fold left them out.",)
    return (
        f"Only the {len(judged):,} validation and test photos could be judged, and not the {num_left:,} that the model trained "
        "on. `allmlp finetune PHOTOS --folds 5` judges all.",
    )
