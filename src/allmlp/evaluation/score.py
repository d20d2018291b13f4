"""Evaluation of a model on the labelled photos of a data set."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from allmlp.checkpoints import PreprocessingChanges
from allmlp.data import BadPhotos, Batch, ImageDataset, Split, read_label_sets, split_batches, with_digests
from allmlp.errors import ConfigError, DataError
from allmlp.evaluation.choose_split import ChosenSplit, choose_split
from allmlp.evaluation.class_matching import match_classes
from allmlp.evaluation.per_photo import prediction_rows
from allmlp.evaluation.shares import SINGLE_PROCESS, Shares
from allmlp.evaluation.sources import Data, Model, as_dataset, as_runnable, saved_split_for, trained_on_by
from allmlp.inference import RunnableModel
from allmlp.io.display import Progress, Report, counted, discard, html_table, no_progress, summarise
from allmlp.metrics import Metrics, score_batches
from allmlp.runs.predictions import PhotoPrediction

__all__ = ["Evaluation", "evaluate"]

_DIGEST_BYTES = 32  # of a SHA-256

Labels = NDArray[np.int64] | Sequence[Sequence[int]]
Batches = Callable[[Split, Labels], Iterator[Batch]]


@dataclass(frozen=True, eq=False, kw_only=True, repr=False)
class Evaluation(Metrics):
    """The `Metrics` of a model on a split, and what they were measured on.

    Attributes:
        split: "train", "validation" or "test".
        photos: the photos of the split, in the order of `predictions`.
        digests: the SHA-256 of each photo.
        num_photos: all photos of the split. `num_examples` counts only photos with labels: a label set may be empty.
        remark: a caveat about these photos; "" for none.
        trained_on: the sample IDs of the scored photos on which the model's run trained, known by their bytes.
        notes: what was skipped or decided when the data set was opened.
        class_names: the model's K class names, in the order of the confusion matrix.
        class_indices: the model's class index for each class of the data set; None if label sets were given and the model
            does not know all classes of the data set.
        original_top1: top-1 by the data set's own labels if label sets were given and the model knows its classes, else None.
        image_size: (height, width) of the images that were scored.
    """

    split: str
    photos: Split
    digests: tuple[str, ...]
    num_photos: int
    remark: str
    trained_on: tuple[str, ...]
    notes: tuple[str, ...]
    class_names: tuple[str, ...]
    class_indices: NDArray[np.int64] | None
    original_top1: float | None
    image_size: tuple[int, int]

    def __repr__(self) -> str:
        return f"Evaluation({self.split}: {counted(self.num_photos, 'photo')}, top-1 {self.top1_text})"

    def _repr_html_(self) -> str:
        """Return the scores as a table, for notebooks."""
        return html_table((self.split, counted(self.num_photos, "photo")), self.rows(), footer=self.remark)

    def per_photo(self) -> Iterator[PhotoPrediction]:
        """Yield one row per photo: split, sample ID, SHA-256, label, prediction and score; `--per-photo` writes these."""
        return prediction_rows(
            self, self.class_names, split=self.split, sample_ids=self.photos.sample_ids, digests=self.digests
        )


def evaluate(
    model: Model,
    data: Data,
    *,
    split: str | None = None,
    labels: str | Path | None = None,
    image_size: int | tuple[int, int] | None = None,
    preprocessing: PreprocessingChanges | None = None,
    device: str = "auto",
    batch_size: int = 64,
    run: str | Path | None = None,
    bad_photos: BadPhotos = "stop",
    report: Report = discard,
    shares: Shares = SINGLE_PROCESS,
    progress: Progress = no_progress,
) -> Evaluation:
    """Score a model on labelled photos; `allmlp evaluate` prints these numbers.

    Args:
        model: a path or a name, as `load_checkpoint` takes it, a `Checkpoint`, or a `RunnableModel`.
        data: a path or a name, as `open_dataset` takes it, or an `ImageDataset`.
        split: "train", "validation" or "test"; None takes test, else validation, else train. If the data set has no
            validation split and its train photos are those of `run`, they are divided as in that run.
        labels: a JSON file with label sets that replace the data set's labels, such as ImageNet's ReaL.
        image_size: (height, width) in pixels, or an int for a square, to convert the Mixer to; None keeps its own.
        preprocessing: overrides the model's, as in `load_checkpoint`; None keeps it.
        device: "auto", "cpu", "cuda" or "mps"; a `RunnableModel` keeps its own.
        batch_size: photos per batch; affects memory and speed, on a CPU never the result. On a GPU, the last bits of the logits
            may depend on it, unless the model was opened with `exact`.
        run: the run folder that the model comes from; None takes `model` if that is a path.
        bad_photos: "stop" refuses data with photos that cannot be decoded; "skip" decodes all photos of the data set first, and
            leaves these out of every split. No photo is ever replaced by another one.
        report: receives lines about the data, for display.
        shares: divides the photos among processes, each of which calls this function and gets the same result.
        progress: called with the number of photos that this process has scored and its total after each batch.

    Raises:
        CheckpointError: nothing usable at `model`, or logits that are not finite.
        ConfigError: an unavailable device, an invalid size, an unknown split, or a model without classes.
        DataError: nothing usable at `data`, photos that cannot be decoded, or classes that the model does not know.
    """
    if batch_size < 1:
        raise ConfigError(f"batch_size is {batch_size}; expected at least 1.")
    runnable = as_runnable(
        model, image_size=image_size, preprocessing=preprocessing, device=device, output="logits", report=report
    )
    dataset = as_dataset(data, bad_photos)
    with dataset.notes_with_errors():
        indices = _class_indices(dataset, runnable, are_needed=labels is None)
        trained = trained_on_by(model, run)
        choice = choose_split(dataset, saved_split_for(model, run), split, compare_names=not trained)
    is_whole = len(choice.photos) == sum(
        map(len, dataset.splits.values())
    )  # "train" would say that they were trained on
    counted_photos = f"{'' if is_whole else f'{choice.name}: '}{len(choice.photos):,} photos."
    for line in (*dataset.notes, f"{counted_photos} {choice.remark}".rstrip()):
        report(line)
    truths = None if indices is None else indices[choice.photos.labels]
    targets = truths if labels is None else _label_sets(labels, dataset, choice, runnable)
    assert targets is not None  # `_class_indices` raises if classes are needed and unknown
    batches = partial(_batches, runnable, batch_size=batch_size, progress=progress)
    if shares.count == 1:
        metrics, digests = _score(runnable, choice.photos, targets, batches)
    else:
        metrics, digests = _score_shared(runnable, choice.photos, targets, batches, shares)
    trained_on = tuple(
        sample_id for sample_id, digest in zip(choice.photos.sample_ids, digests, strict=True) if digest in trained
    )
    if trained_on:
        report(
            f"The model was trained on {len(trained_on):,} of these {len(choice.photos):,} photos, known by their content: "
            f"{summarise(trained_on, limit=3)}. Its score is too optimistic."
        )
    is_original_known = labels is not None and truths is not None
    return Evaluation(
        **{field.name: getattr(metrics, field.name) for field in fields(metrics)},
        split=choice.name,
        photos=choice.photos,
        digests=tuple(digests),
        num_photos=len(choice.photos),
        remark=choice.remark,
        trained_on=trained_on,
        notes=dataset.notes,
        class_names=runnable.description.class_names,
        class_indices=indices,
        original_top1=float((metrics.predictions == truths).mean()) if is_original_known else None,
        image_size=runnable.description.config.image_size,
    )


def _class_indices(dataset: ImageDataset, model: RunnableModel, *, are_needed: bool) -> NDArray[np.int64] | None:
    """Return the model's class index for each class of a data set; None if the model lacks one and they are not needed."""
    if not model.description.class_names:
        raise ConfigError(
            "This checkpoint has no classifier (num_classes is 0), so it cannot be scored. Use --shots 1,5,10 to fit a linear "
            "classifier to its features and score that."
        )
    if model.output != "logits":
        raise ConfigError(f"This model returns {model.output}. To score it, open it with output='logits'.")
    try:
        return match_classes(dataset.class_names, model.description, where=dataset.source)
    except DataError:
        if are_needed:
            raise
        return None


def _label_sets(labels: str | Path, dataset: ImageDataset, choice: ChosenSplit, model: RunnableModel) -> Labels:
    rows = model.description.class_rows(dataset.class_names)
    num_classes = len(model.description.class_names)
    return read_label_sets(labels, choice.photos.sample_ids, rows, num_classes=num_classes)


def _score(model: RunnableModel, photos: Split, labels: Labels, batches: Batches) -> tuple[Metrics, list[str]]:
    """Return the scores and the digest of each photo."""
    digests = [""] * len(photos)
    names, temperature = model.description.class_names, model.description.temperature
    metrics = score_batches(
        model.forward, batches(with_digests(photos, digests), labels), names, temperature=temperature
    )
    return metrics, digests


def _score_shared(
    model: RunnableModel, photos: Split, labels: Labels, batches: Batches, shares: Shares
) -> tuple[Metrics, list[str]]:
    """Score the logits of all processes. Scores do not depend on batching, so the result equals that of a single process."""
    names = model.description.class_names

    def rows_of(share: Split) -> NDArray[np.float32]:
        """Return one row per photo: its logits, and the 32 bytes of its digest as numbers."""
        digests = [""] * len(share)
        unlabelled = batches(with_digests(share, digests), [()] * len(share))
        rows = [model.forward(batch.images)[batch.mask] for batch in unlabelled]
        logits = np.concatenate([np.empty((0, len(names)), dtype=np.float32), *rows])
        digest_bytes = np.frombuffer(bytes.fromhex("".join(digests)), dtype=np.uint8).reshape(-1, _DIGEST_BYTES)
        return np.concatenate([logits, digest_bytes.astype(np.float32)], axis=1)

    gathered = shares.rows(photos, rows_of)
    logits = np.ascontiguousarray(gathered[:, :-_DIGEST_BYTES])
    digests = [row.tobytes().hex() for row in gathered[:, -_DIGEST_BYTES:].astype(np.uint8)]
    targets = np.zeros(logits.shape, dtype=np.float32)
    for target, label in zip(targets, labels, strict=True):
        target[np.asarray(label, dtype=np.int64)] = 1.0
    batch = Batch(logits, targets, np.ones(len(logits), dtype=bool))  # logits in place of images
    return score_batches(lambda rows: rows, [batch], names, temperature=model.description.temperature), digests


def _batches(
    model: RunnableModel, photos: Split, labels: Labels, *, batch_size: int, progress: Progress
) -> Iterator[Batch]:
    preparation, num_classes = model.preparation, len(model.description.class_names)
    done = 0
    for batch in split_batches(photos, labels, preparation, num_classes=num_classes, batch_size=batch_size):
        yield batch  # the caller scores it before it asks for the next one
        done += int(batch.mask.sum())
        progress(done, len(photos))
