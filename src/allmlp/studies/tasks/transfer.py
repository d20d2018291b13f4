"""Fine-tuning of the networks of studies on any task: a learning rate is chosen on held-out photos, the same way for all."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch import nn

from allmlp.data import open_dataset
from allmlp.errors import DivergedError
from allmlp.io.display import Report
from allmlp.metrics import FewShotOptions, LabelledFeatures, few_shot
from allmlp.studies.learning.fit import Schedule, fit_once, predicted
from allmlp.studies.learning.networks import features, with_classifier
from allmlp.studies.learning.photos import LabelledPhotos, StudyPhotos, decoded
from allmlp.studies.tasks.division import divided
from allmlp.studies.tasks.task import Task

__all__ = [
    "NUM_DRAWS",
    "NUM_SHOTS",
    "TransferPhotos",
    "classified",
    "linear_few_shot",
    "read_transfer_photos",
    "transfer",
]

NUM_SHOTS, NUM_DRAWS = 5, 10


class TransferPhotos(NamedTuple):
    """The photos of a task at one size.

    train: what networks are fine-tuned on, and what examples of few-shot are drawn from.
    validation: held out of the photos that are not test photos; they choose the learning rate.
    test: scored once, by the network with the chosen rate.
    sample_ids: of train.
    """

    train: LabelledPhotos
    validation: LabelledPhotos
    test: LabelledPhotos
    class_names: Sequence[str]
    sample_ids: Sequence[str]


def read_transfer_photos(source: str, image_size: tuple[int, int], *, held_out: float) -> TransferPhotos:
    """Decode the photos of a task; `held_out` is the share of its training and validation photos that chooses the rate.

    The same photos are held out for all networks and seeds. Without a test split, the validation split is the test split.

    Raises:
        DataError: there is no train split or nothing to test on, or a photo cannot be decoded.
    """
    task = Task(name="transfer", group="", num_steps=0, held_out=held_out)
    parts = divided(task, open_dataset(source))
    train, validation = parts.choice.splits["train"], parts.choice.splits["validation"]
    test = parts.last.splits["test"]
    return TransferPhotos(
        train=decoded(train, image_size),
        validation=decoded(validation, image_size),
        test=decoded(test, image_size),
        class_names=parts.choice.class_names,
        sample_ids=train.sample_ids,
    )


def transfer(
    network: nn.Module,
    photos: TransferPhotos,
    schedule: Schedule,
    learning_rates: Sequence[float],
    *,
    seed: int,
    folder: Path,
    report: Report,
    device: str = "cpu",
) -> dict[str, Any]:
    """Fine-tune copies of a pre-trained network, with a classifier that starts at zero, and return JSON figures.

    One training per learning rate; the one with the best top-1 on the validation photos, the lower rate if two are equal, is
    scored once on the test photos. A call that was interrupted continues in `folder`.

    Returns:
        "rates": top-1 on the validation photos, by learning rate, None where training diverged; "learning_rate": the chosen
        one; "top1" on the test photos, and "correct": which of them, as in `classified`; "few_shot": top-1 of a linear
        classifier on the frozen features, None if a class has too few photos for it; "core_hours" of all trainings; the
        numbers of photos and classes.

    Raises:
        Stopped: a signal, after the state was saved.
        DivergedError: training diverged at every learning rate.
        CheckpointError: a file in `folder` is damaged.
    """
    few = linear_few_shot(network, photos, seed=seed, device=device)
    trained: dict[float, tuple[nn.Module, Mapping[str, Any]]] = {}
    for rate in sorted(learning_rates):
        report(f"  learning rate {rate:g}")
        tuned = with_classifier(network, len(photos.class_names))
        try:
            figures = fit_once(
                tuned,
                StudyPhotos(photos.train, photos.validation, photos.class_names),
                Schedule(**{**schedule.settings(), "learning_rate": rate}),
                seed=seed,
                folder=folder / f"rate-{rate:g}",
                report=report,
                device=device,
            )
        except DivergedError as error:
            report(f"  {error}")
            continue
        trained[rate] = (tuned, figures)
    if not trained:
        raise DivergedError(
            f"training diverged at every learning rate ({', '.join(f'{rate:g}' for rate in sorted(learning_rates))})."
        )
    scores = {rate: figures["top1"] for rate, (_, figures) in trained.items()}
    best = max(scores, key=scores.__getitem__)  # the lower rate if two are equal
    is_correct = predicted(trained[best][0], photos.test.images, device=device).argmax(1) == photos.test.labels
    return {
        "rates": [{"learning_rate": rate, "top1": scores.get(rate)} for rate in sorted(learning_rates)],
        "learning_rate": best,
        "top1": float(is_correct.mean()),
        "correct": np.packbits(is_correct).tobytes().hex(),
        "few_shot": few,
        "core_hours": float(f"{sum(figures['core_hours'] for _, figures in trained.values()):.3g}"),
        "num_train": len(photos.train.labels),
        "num_validation": len(photos.validation.labels),
        "num_test": len(photos.test.labels),
        "num_classes": len(photos.class_names),
    }


def classified(figures: Mapping[str, Any]) -> NDArray[np.bool_]:
    """Return which test photos were classified correctly, in their order, from the figures of `transfer`."""
    bits = np.frombuffer(bytes.fromhex(figures["correct"]), np.uint8)
    return np.unpackbits(bits, count=figures["num_test"]).astype(np.bool_)


def linear_few_shot(network: nn.Module, photos: TransferPhotos, *, seed: int, device: str = "cpu") -> float | None:
    """Return the mean top-1 on the test photos of linear 5-shot over draws from the training photos.

    None if a class has fewer than 5 training photos.
    """
    if np.bincount(photos.train.labels, minlength=len(photos.class_names)).min() < NUM_SHOTS:
        return None
    network.eval()
    frozen, train, test = features(network), photos.train, photos.test
    (result,) = few_shot(
        LabelledFeatures(predicted(frozen, train.images, device=device), train.labels, photos.sample_ids),
        LabelledFeatures(predicted(frozen, test.images, device=device), test.labels),
        photos.class_names,
        FewShotOptions(shots=(NUM_SHOTS,), num_draws=NUM_DRAWS, seed=seed),
    )
    return float(f"{result.mean:.5g}")
