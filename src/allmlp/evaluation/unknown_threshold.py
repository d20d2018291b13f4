"""The threshold of "unknown", fitted on photos of the classes."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from allmlp.checkpoints import Checkpoint, UnknownRule, encode_statistics, load_checkpoint
from allmlp.data import split_batches, with_digests
from allmlp.errors import ConfigError, DataError
from allmlp.evaluation.choose_split import choose_split, divide_as_run
from allmlp.evaluation.class_matching import match_classes
from allmlp.evaluation.sources import Data, as_dataset, saved_split_for, trained_on_by
from allmlp.inference import check_finite, open_model
from allmlp.io.display import Progress, Report, discard, no_progress
from allmlp.metrics import first_of_copies, fit_closeness, fit_threshold, held_out_closeness

__all__ = ["KEPT_SHARE", "MIN_PHOTOS_FOR_UNKNOWN", "fit_unknown", "unknown_rule"]

KEPT_SHARE = 0.95
MIN_PHOTOS_FOR_UNKNOWN = 30
"""With fewer photos, one or none would be below a threshold that keeps 95 %, and another draw would give another one."""


def unknown_rule(
    features: NDArray[np.float32], *, kept: float = KEPT_SHARE, left_out: NDArray[np.float64] | None = None
) -> UnknownRule | None:
    """Return the rule that keeps the share `kept` of photos of the classes, by their features (n, C); None for under 30.

    Photos whose features are equal but for rounding count once.

    The score is the closeness of features, which tells photos of other kinds apart far better than any score of logits:
    docs/evaluation.md has the measurement. The threshold is fitted on photos that were left out of the statistics: on
    `left_out` (m,), the closeness of photos on which a model like this one was not trained, to those on which it was; None
    leaves out a fifth of the photos at a time, which have to be photos on which the model was not trained.

    Raises:
        ConfigError: `kept` is not in 0..1, or is 0.
    """
    if not 0 < kept <= 1:
        raise ConfigError(f"kept is {kept}; expected a share over 0 and at most 1, such as 0.95.")
    features = features[first_of_copies(features)]
    if min(len(features), len(features if left_out is None else left_out)) < MIN_PHOTOS_FOR_UNKNOWN:
        return None
    scores = held_out_closeness(features) if left_out is None else left_out
    return UnknownRule(
        score="closeness",
        threshold=fit_threshold(scores, kept=kept),
        kept=kept,
        num_photos=len(scores),
        statistics=encode_statistics(fit_closeness(features)),
    )


def fit_unknown(
    checkpoint: str | Path | Checkpoint,
    data: Data,
    *,
    split: str | None = None,
    kept: float = KEPT_SHARE,
    device: str = "auto",
    run: str | Path | None = None,
    report: Report = discard,
    progress: Progress = no_progress,
) -> Checkpoint:
    """Return a checkpoint that answers "unknown" for photos whose features are unlike those of its classes.

    Training does this on its validation photos. Nothing is saved: `save_checkpoint` does that.

    Args:
        checkpoint: a path or a name, as `load_checkpoint` takes it, or a `Checkpoint`.
        data: photos of the classes on which the model was not trained, as `open_dataset` takes them.
        split: of the data; None takes validation, else test, else train, divided as in the run.
        kept: the share of these photos that is to stay known, over 0 and at most 1.
        device: "auto", "cpu", "cuda" or "mps".
        run: the run folder that the model comes from; None takes `checkpoint` if that is a path.
        report: receives lines about the data, for display.
        progress: called with the number of photos done and their total after each batch.

    Raises:
        CheckpointError: nothing usable at `checkpoint`, or features that are not finite.
        DataError: nothing usable at `data`, fewer than 30 different photos, or classes that the model does not know.
        ConfigError: `kept` is out of range, or the model has no classes.
    """
    unknown_rule(np.empty((0, 1), np.float32), kept=kept)  # before anything slow
    loaded = checkpoint if isinstance(checkpoint, Checkpoint) else load_checkpoint(checkpoint)
    if not loaded.class_names:
        raise ConfigError('This checkpoint has no classifier (num_classes is 0), so it never answers "unknown".')
    dataset = as_dataset(data, "stop")
    match_classes(dataset.class_names, loaded.description, where=dataset.source)
    saved = saved_split_for(checkpoint, run)
    has_validation = "validation" in divide_as_run(dataset, saved)[0]
    choice = choose_split(dataset, saved, split or ("validation" if has_validation else None))
    photos = choice.photos
    trained = trained_on_by(checkpoint, run)
    digests = [""] * len(photos)
    report(f"{choice.name}: {len(photos):,} photos. {choice.remark}".rstrip())
    forward, rows = open_model(loaded, device=device, output="features").forward, []
    read = with_digests(photos, digests)
    for batch in split_batches(read, photos.labels * 0, loaded.preprocessing, num_classes=1, batch_size=64):
        rows.append(check_finite(forward(batch.images[batch.mask])))
        progress(sum(map(len, rows)), len(photos))
    if num_trained_on := sum(digest in trained for digest in digests):
        report(
            f"The model was trained on {num_trained_on:,} of these photos, known by their content, which are more "
            "alike to it than new ones: fewer than intended will stay known."
        )
    rule = unknown_rule(np.concatenate(rows), kept=kept)
    if rule is None:
        raise DataError(
            f"{dataset.source}: {len(photos)} photos are too few for a threshold; expected at least {MIN_PHOTOS_FOR_UNKNOWN} "
            "different photos of the classes, on which the model was not trained."
        )
    return loaded.replace(unknown=rule)
