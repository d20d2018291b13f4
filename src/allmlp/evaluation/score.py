"""A model's scores on the labelled photos of a data set."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from allmlp.data import Batch, ImageDataset, Split, read_label_sets, split_batches
from allmlp.errors import ConfigError, DataError
from allmlp.evaluation.choose_split import ChosenSplit, choose_split
from allmlp.evaluation.class_matching import match_classes
from allmlp.evaluation.shares import ALONE, Shares
from allmlp.evaluation.sources import Data, Model, as_dataset, as_runnable, ignore, saved_split_for
from allmlp.inference import RunnableModel
from allmlp.io.display import Report
from allmlp.metrics import Metrics, score_batches

__all__ = ["Evaluation", "evaluate"]

Labels = NDArray[np.int64] | Sequence[Sequence[int]]


@dataclass(frozen=True, eq=False, kw_only=True)
class Evaluation(Metrics):
    """The `Metrics` of a model on a split, and what was scored.

    Attributes:
        split: "train", "validation" or "test".
        num_photos: of the split. `num_examples` are those that count: sets of labels may leave photos without any.
        remark: what has to be known about these photos, such as that the model was trained on them; "" for nothing.
        notes: what opening the data set left out or decided.
        class_names: K names, the model's, in the order of the confusion matrix.
        class_indices: for each class of the data set its index among the model's; None where sets of labels were given
            and the model does not know all classes of the data set.
        original_top1: top-1 by the data set's own labels where sets of labels were given; None elsewhere.
        image_size: (height, width) that photos were scored at.
    """

    split: str
    num_photos: int
    remark: str
    notes: tuple[str, ...]
    class_names: tuple[str, ...]
    class_indices: NDArray[np.int64] | None
    original_top1: float | None
    image_size: tuple[int, int]


def evaluate(
    model: Model,
    data: Data,
    *,
    split: str | None = None,
    labels: str | Path | None = None,
    image_size: int | tuple[int, int] | None = None,
    device: str = "auto",
    batch_size: int = 64,
    run: str | Path | None = None,
    report: Report = ignore,
    shares: Shares = ALONE,
) -> Evaluation:
    """Score a model on labelled photos. The numbers are those of `allmlp evaluate`.

    Args:
        model: a path or a name, as `load_checkpoint` takes it, a `Checkpoint`, or a `RunnableModel`.
        data: a path or a name, as `open_dataset` takes it, or an `ImageDataset`.
        split: "train", "validation" or "test"; None takes test, else validation, else train. A data set without a
            validation split is divided as `run` divided it, where it has the same photos.
        labels: a JSON file with sets of labels instead of the data set's, such as ImageNet's ReaL.
        image_size: (height, width) in pixels to use the Mixer at; None leaves it.
        device: "auto", "cpu", "cuda" or "mps"; a `RunnableModel` has its own.
        batch_size: photos at a time; it decides memory and speed, never the result.
        run: the run folder that the model is of; None takes `model` where that is a path.
        report: takes lines about the data for people, before the photos are scored.
        shares: divides the photos among processes, each of which calls this and gets the same result.

    Raises:
        CheckpointError: nothing usable at `model`, or logits that are not finite.
        ConfigError: an unavailable device, an invalid size, a split that is not there, or a model without classes.
        DataError: nothing usable at `data`, photos that cannot be decoded, or classes that the model does not know.
    """
    if batch_size < 1:
        raise ConfigError(f"batch_size is {batch_size}; expected at least 1.")
    runnable = as_runnable(model, image_size=image_size, device=device, output="logits", report=report)
    dataset = as_dataset(data)
    indices = _class_indices(dataset, runnable, are_needed=labels is None)
    choice = choose_split(dataset, saved_split_for(model, run), split)
    for line in (*dataset.notes, f"{choice.name}: {len(choice.photos):,} photos. {choice.remark}".rstrip()):
        report(line)
    truths = None if indices is None else indices[choice.photos.labels]
    wanted = truths if labels is None else _label_sets(labels, dataset, choice, runnable)
    assert wanted is not None  # `_class_indices` raises where classes are needed and unknown
    if shares.count == 1:
        metrics = _score(runnable, choice, wanted, batch_size=batch_size)
    else:
        metrics = _score_shared(runnable, choice, wanted, batch_size=batch_size, shares=shares)
    is_original_known = labels is not None and truths is not None
    return Evaluation(
        **{field.name: getattr(metrics, field.name) for field in fields(metrics)},
        split=choice.name,
        num_photos=len(choice.photos),
        remark=choice.remark,
        notes=dataset.notes,
        class_names=runnable.description.class_names,
        class_indices=indices,
        original_top1=float((metrics.predictions == truths).mean()) if is_original_known else None,
        image_size=runnable.description.config.image_size,
    )


def _class_indices(dataset: ImageDataset, model: RunnableModel, *, are_needed: bool) -> NDArray[np.int64] | None:
    """Return the classes of a data set among the model's; None where they are not needed and the model lacks some."""
    if not model.description.class_names:
        raise ConfigError(
            "This checkpoint has no classifier (num_classes is 0), so it cannot be scored. With --shots 1,5,10 one is fitted "
            "on its features."
        )
    if model.output != "logits":
        raise ConfigError(f"This model gives {model.output}; open it with output='logits' to score it.")
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


def _score(model: RunnableModel, choice: ChosenSplit, labels: Labels, *, batch_size: int) -> Metrics:
    batches = _batches(model, choice.photos, labels, batch_size)
    names = model.description.class_names
    return score_batches(model.forward, batches, names, temperature=model.description.temperature)


def _score_shared(
    model: RunnableModel, choice: ChosenSplit, labels: Labels, *, batch_size: int, shares: Shares
) -> Metrics:
    """Score the logits that all processes computed. No batching changes a digit, so the result is that of one process."""
    names = model.description.class_names

    def logits_of(photos: Split) -> NDArray[np.float32]:
        unlabelled = _batches(model, photos, [()] * len(photos), batch_size)
        rows = [model.forward(batch.images)[batch.mask] for batch in unlabelled]
        return np.concatenate([np.empty((0, len(names)), dtype=np.float32), *rows])

    logits = shares.rows(choice.photos, logits_of)
    targets = np.zeros(logits.shape, dtype=np.float32)
    for target, label in zip(targets, labels, strict=True):
        target[np.asarray(label, dtype=np.int64)] = 1.0
    batch = Batch(logits, targets, np.ones(len(logits), dtype=bool))  # the "images" are logits already
    return score_batches(lambda rows: rows, [batch], names, temperature=model.description.temperature)


def _batches(model: RunnableModel, photos: Split, labels: Labels, batch_size: int) -> Iterator[Batch]:
    preprocessing, num_classes = model.description.preprocessing, len(model.description.class_names)
    return split_batches(photos, labels, preprocessing, num_classes=num_classes, batch_size=batch_size)
