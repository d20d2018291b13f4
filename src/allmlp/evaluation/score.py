"""A model's scores on the labelled photos of a data set."""

from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from allmlp.data import ImageDataset, read_label_sets, split_batches
from allmlp.errors import ConfigError, DataError
from allmlp.evaluation.choose_split import ChosenSplit, choose_split
from allmlp.evaluation.class_matching import match_classes
from allmlp.evaluation.sources import Data, Model, Report, as_dataset, as_runnable, ignore, saved_split_for
from allmlp.inference import RunnableModel
from allmlp.metrics import Metrics, score_batches

__all__ = ["Evaluation", "evaluate"]


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
    metrics = _score(runnable, dataset, choice, truths, labels, batch_size=batch_size)
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


def _score(
    model: RunnableModel,
    dataset: ImageDataset,
    choice: ChosenSplit,
    truths: NDArray[np.int64] | None,
    labels: str | Path | None,
    *,
    batch_size: int,
) -> Metrics:
    description = model.description
    num_classes = len(description.class_names)
    if labels is None:
        assert truths is not None
        batches = split_batches(
            choice.photos, truths, description.preprocessing, num_classes=num_classes, batch_size=batch_size
        )
    else:
        rows = description.class_rows(dataset.class_names)
        sets = read_label_sets(labels, choice.photos.sample_ids, rows, num_classes=num_classes)
        batches = split_batches(
            choice.photos, sets, description.preprocessing, num_classes=num_classes, batch_size=batch_size
        )
    return score_batches(model.forward, batches, description.class_names, temperature=description.temperature)
