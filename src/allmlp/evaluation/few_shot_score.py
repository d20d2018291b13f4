"""Few-shot evaluation: the accuracy of a linear classifier fitted to a model's frozen features on a few photos per class."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from allmlp.checkpoints import PreprocessingChanges
from allmlp.data import BadPhotos, Split, with_digests
from allmlp.evaluation.choose_split import choose_few_shot_splits
from allmlp.evaluation.shares import SINGLE_PROCESS, Shares
from allmlp.evaluation.sources import Data, Model, as_dataset, as_runnable, saved_split_for, trained_on_by
from allmlp.inference import Embedder
from allmlp.io.display import Progress, Report, counted, discard, no_progress, summarise
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
        overlaps: what is too optimistic because photos are the same by their bytes, one line each: scored photos among the
            examples or among the photos on which the model's run trained, and examples among the latter.
        remark, notes, image_size: as in `Evaluation`.
    """

    results: tuple[FewShot, ...]
    options: FewShotOptions
    split: str
    num_photos: int
    overlaps: tuple[str, ...]
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
        trained = trained_on_by(model, run)
        train, scored = choose_few_shot_splits(dataset, saved_split_for(model, run), split, compare_names=not trained)
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
    example_features, example_digests = _features(embed, examples, shares)
    features, digests = _features(embed, scored.photos, shares)
    overlaps = _overlaps(examples, example_digests, scored.photos, digests, trained)
    for line in overlaps:
        report(line)
    results = few_shot(
        LabelledFeatures(example_features, examples.labels, examples.sample_ids),
        LabelledFeatures(features, scored.photos.labels),
        dataset.class_names,
        options,
        drawn=positions.reshape(drawn.shape),
    )
    return FewShotEvaluation(
        results=results,
        options=options,
        split=scored.name,
        num_photos=len(scored.photos),
        overlaps=overlaps,
        remark=scored.remark,
        notes=dataset.notes,
        image_size=runnable.description.config.image_size,
    )


def _features(
    embed: Callable[[Split], NDArray[np.float32]], photos: Split, shares: Shares
) -> tuple[NDArray[np.float32], list[str]]:
    """Return the features (n, C) of all photos and their SHA-256; each process computes its share of both."""

    def rows_of(share: Split) -> NDArray[np.float32]:
        digests = [""] * len(share)
        features = embed(with_digests(share, digests))
        digest_bytes = np.frombuffer(bytes.fromhex("".join(digests)), dtype=np.uint8).reshape(len(share), 32)
        return np.concatenate([features, digest_bytes.astype(np.float32)], axis=1)

    rows = shares.rows(photos, rows_of)
    return np.ascontiguousarray(rows[:, :-32]), [row.tobytes().hex() for row in rows[:, -32:].astype(np.uint8)]


def _overlaps(
    examples: Split, example_digests: list[str], scored: Split, digests: list[str], trained: frozenset[str]
) -> tuple[str, ...]:
    fitted = set(example_digests)
    leaked = [name for name, digest in zip(scored.sample_ids, digests, strict=True) if digest in fitted]
    seen = [name for name, digest in zip(scored.sample_ids, digests, strict=True) if digest in trained]
    known = [name for name, digest in zip(examples.sample_ids, example_digests, strict=True) if digest in trained]
    notes = []
    if leaked:
        notes.append(
            f"{_counted(leaked)} to score {_are(leaked)} also among the examples. The score is too optimistic."
        )
    if seen:
        notes.append(f"The model was trained on {_counted(seen)} to score. The score is too optimistic.")
    if known:
        notes.append(
            f"The model was trained on {_counted(known)} of the examples: its features fit them too well to choose the "
            "regularisation on them."
        )
    return tuple(notes)


def _counted(names: list[str]) -> str:
    content = "its content" if len(names) == 1 else "their content"
    return f"{counted(len(names), 'photo')}, known by {content} ({summarise(names, limit=3)}),"


def _are(names: list[str]) -> str:
    return "is" if len(names) == 1 else "are"
