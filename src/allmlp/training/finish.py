"""The end of a run: scores of the best checkpoint in float32, its temperature, metrics.json and the report."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path

from allmlp.checkpoints import Checkpoint, load_checkpoint, save_checkpoint
from allmlp.data import ImageDataset
from allmlp.inference import eager_forward
from allmlp.metrics import Metrics, score_batches
from allmlp.training.cross_validation import CROSS_VALIDATION, OutOfFold
from allmlp.training.recipe.recipe import ResolvedRecipe
from allmlp.training.run_report import write_run_report
from allmlp.training.session import Session
from allmlp.training.snapshots.history import TrainingHistory

__all__ = ["TrainResult", "finish"]

# With fewer photos a fitted temperature would be mostly noise: with 30, half of them right, its standard error is a fifth.
_MIN_PHOTOS_FOR_TEMPERATURE = 30


@dataclass(frozen=True, kw_only=True)
class TrainResult:
    """The result of a finished run.

    Attributes:
        directory: the run folder.
        recipe: as resolved.
        dataset: with its validation split.
        evaluations: of the best checkpoint in float32, by split: "validation", and "test" if there is one. With
            cross-validation, "cross-validation" instead of "validation": each photo predicted by a fold's last weights.
        best_epoch: the epoch of the best checkpoint: highest validation top-1, ties broken by the lower loss.
        num_epochs: the epochs that were trained: the recipe's, or as many as fit into its `max_minutes`.
        minutes_needed: about what all epochs of the recipe would have taken, if `max_minutes` cut the run short; else None.
        seconds: total training time, including validation and earlier sessions of a resumed run.
        sample_digest: SHA-256 over the samples of all steps in order; see `TrainingHistory`.
    """

    directory: Path
    recipe: ResolvedRecipe
    dataset: ImageDataset
    evaluations: dict[str, Metrics]
    best_epoch: int
    num_epochs: float
    minutes_needed: float | None
    seconds: float
    sample_digest: str


def finish(session: Session, history: TrainingHistory, out_of_fold: OutOfFold | None = None) -> TrainResult:
    """Score the best checkpoint in float32, store its temperature, and write the report and metrics.json.

    Without validation photos, the scores and the temperature come from the predictions of cross-validation, `out_of_fold`.

    It is safe to be killed at any point: metrics.json comes last, so a resumed run repeats all of this, and a temperature
    stored earlier does not change the logits on which the new one is fitted.
    """
    recipe, dataset, pipeline, run = session.recipe, session.dataset, session.pipeline, session.run
    with session.ranks.raise_on_all():
        session.wait_for_saves()
        session.checkpoints.finish()
    best = run.layout.checkpoint("best")
    checkpoint = load_checkpoint(best)
    evaluations = _evaluations(session, checkpoint, out_of_fold)
    if out_of_fold is not None:
        dataset = dataclasses.replace(dataset, splits={**dataset.splits, CROSS_VALIDATION: out_of_fold.split})
    temperature = next(iter(evaluations.values())).temperature
    with session.ranks.raise_on_all():
        if session.ranks.is_first and temperature != checkpoint.temperature:
            save_checkpoint(checkpoint.replace(temperature=temperature), best)
    num_steps = session.plan.num_steps
    cut_short = session.plan.cut_short(history)
    num_epochs = session.plan.epochs_at(num_steps)
    figures = {
        "best_epoch": history.best_epoch,
        "num_epochs": round(num_epochs, 2),
        "num_steps": num_steps,
        "planned_epochs": recipe.num_epochs,
        "minutes_needed": history.minutes_needed,
        "revisions": history.revisions,
        "num_skipped": history.num_skipped,
        "temperature": temperature,
        "seconds": round(history.seconds, 1),
        "images_per_second": round(num_steps * recipe.batch_size / history.seconds, 1),
        "sample_digest": history.sample_digest,
    }
    if session.ranks.is_first:
        notes = (*dataset.notes, *((cut_short,) if cut_short else ()))
        write_run_report(run.path, recipe, dataset, evaluations, pipeline, session.environment, history, notes=notes)
        run.write_metrics(evaluations, figures=figures)  # last: a run with metrics is finished
    if cut_short is not None:
        session.progress.message(f"warning {cut_short}")
    for name, metrics in evaluations.items():
        session.progress.message(
            f"{name:<10}  top-1 {metrics.top1:.1%}   top-5 {metrics.top5:.1%}   balanced {metrics.balanced_accuracy:.1%}   "
            f"loss {metrics.loss:.3f}   calibration error {metrics.expected_calibration_error:.1%}   "
            f"({metrics.num_examples:,} photos, checkpoint of epoch {history.best_epoch})"
        )
    return TrainResult(
        directory=run.path,
        recipe=recipe,
        dataset=dataset,
        evaluations=evaluations,
        best_epoch=history.best_epoch,
        num_epochs=num_epochs,
        minutes_needed=history.minutes_needed,
        seconds=history.seconds,
        sample_digest=history.sample_digest,
    )


def _evaluations(session: Session, checkpoint: Checkpoint, out_of_fold: OutOfFold | None) -> dict[str, Metrics]:
    """Score the validation split, on which the temperature is fitted, and the test split, if any, with that temperature.

    The predictions of cross-validation stand for a validation split.
    """
    dataset, pipeline = session.dataset, session.pipeline
    forward = eager_forward(checkpoint, device=session.device)
    num_photos = len(dataset.splits["validation"] if out_of_fold is None else out_of_fold.split)
    temperature = None if num_photos >= _MIN_PHOTOS_FOR_TEMPERATURE else 1.0
    evaluations: dict[str, Metrics] = {}
    if out_of_fold is not None:
        evaluations[CROSS_VALIDATION] = out_of_fold.metrics(dataset.class_names, temperature=temperature)
        temperature = evaluations[CROSS_VALIDATION].temperature
    for name in (name for name in ("validation", "test") if name in dataset.splits):
        batches = pipeline.evaluation_batches(name)
        evaluations[name] = score_batches(forward, batches, dataset.class_names, temperature=temperature)
        temperature = evaluations[name].temperature
    return evaluations
