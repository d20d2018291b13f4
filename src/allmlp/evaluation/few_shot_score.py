"""Few-shot evaluation: the accuracy of a linear classifier fitted to a model's frozen features on a few photos per class."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from allmlp.checkpoints import PreprocessingChanges
from allmlp.data import BadPhotos
from allmlp.evaluation.choose_split import choose_few_shot_splits
from allmlp.evaluation.shares import SINGLE_PROCESS, Shares
from allmlp.evaluation.sources import Data, Model, as_dataset, as_runnable, saved_split_for
from allmlp.inference import Embedder
from allmlp.io.display import Progress, Report, discard, no_progress
from allmlp.metrics import FewShot, FewShotOptions, LabelledFeatures, draw_examples, few_shot

__all__ = ["FewShotEvaluation", "evaluate_few_shot"]


@dataclass(frozen=True, kw_only=True)
class FewShotEvaluation:
    """Few-shot accuracies and what they were measured on.

    Attributes:
        results: one per number of shots, in the order of the options.
        options: the options that were used.
        split: the scored split, "validation" or "test".
        num_photos: the number of photos in that split.
        remark, notes, image_size: as in `Evaluation`.
    """

    results: tuple[FewShot, ...]
    options: FewShotOptions
    split: str
    num_photos: int
    remark: str
    notes: tuple[str, ...]
    image_size: tuple[int, int]


def evaluate_few_shot(
    model: Model,
    data: Data,
    options: FewShotOptions | None = None,
    *,
    split: str | None = None,
    image_size: int | tuple[int, int] | None = None,
    preprocessing: PreprocessingChanges | None = None,
    device: str = "auto",
    batch_size: int = 64,
    run: str | Path | None = None,
    bad_photos: BadPhotos = "stop",
    report: Report = discard,
    shares: Shares = SINGLE_PROCESS,
    progress: Progress = no_progress,
) -> FewShotEvaluation:
    """Draw train photos, fit a linear classifier to their features, and score it. The classes are the data set's.

    `allmlp evaluate --shots` prints these numbers.

    Args:
        options: the examples per class, the number of draws and the seed; None takes the defaults.
        split: "validation" or "test"; None takes test, else validation.
        model, data, image_size, preprocessing, device, batch_size, run, bad_photos, report, shares, progress: as in
            `evaluate`; a `RunnableModel` must have been opened with output="features".

    Raises:
        CheckpointError: nothing usable at `model`.
        ConfigError: an unavailable device, an invalid size, an unknown split, or train as the split to score.
        DataError: nothing usable at `data`, no train split or no other split, classes with too few photos, or photos that
            cannot be decoded. Only photos that are drawn or scored are read.
    """
    options = options or FewShotOptions()
    runnable = as_runnable(
        model, image_size=image_size, preprocessing=preprocessing, device=device, output="features", report=report
    )
    embedder = Embedder(runnable, batch_size=batch_size)
    dataset = as_dataset(data, bad_photos)
    with dataset.notes_with_errors():
        train, scored = choose_few_shot_splits(dataset, saved_split_for(model, run), split)
        drawn = draw_examples(train.sample_ids, train.labels, dataset.class_names, options)
    indices, positions = np.unique(drawn, return_inverse=True)
    examples = train.subset(indices)
    for line in dataset.notes:
        report(line)
    draws = "1 draw" if options.num_draws == 1 else f"{options.num_draws} draws"
    counts = (
        f"{len(examples):,} train photos as examples in {draws}, {len(scored.photos):,} {scored.name} photos to score."
    )
    report(f"{counts} {scored.remark}".rstrip())
    embed = partial(embedder.embed_split, progress=progress)
    results = few_shot(
        LabelledFeatures(shares.rows(examples, embed), examples.labels, examples.sample_ids),
        LabelledFeatures(shares.rows(scored.photos, embed), scored.photos.labels),
        dataset.class_names,
        options,
        drawn=positions.reshape(drawn.shape),
    )
    return FewShotEvaluation(
        results=results,
        options=options,
        split=scored.name,
        num_photos=len(scored.photos),
        remark=scored.remark,
        notes=dataset.notes,
        image_size=runnable.description.config.image_size,
    )
