"""The end of a run: the best checkpoint scored in float32, its temperature, metrics.json and the report."""

from dataclasses import dataclass
from pathlib import Path

from allmlp.checkpoints import Checkpoint, load_checkpoint, save_checkpoint
from allmlp.data import ImageDataset
from allmlp.inference import eager_forward
from allmlp.metrics import Metrics, score_batches
from allmlp.training.recipe.recipe import ResolvedRecipe
from allmlp.training.run_report import write_run_report
from allmlp.training.session import Session
from allmlp.training.snapshots.history import TrainingHistory

__all__ = ["TrainResult", "finish"]

# With fewer photos a fitted temperature would be chance: of 30, its standard error is a fifth where half are right.
_LEAST_PHOTOS_FOR_TEMPERATURE = 30


@dataclass(frozen=True, kw_only=True)
class TrainResult:
    """What a finished run is.

    Attributes:
        directory: the run folder.
        recipe: as resolved.
        dataset: with its validation split.
        evaluations: of the best checkpoint, float32, by split: "validation", and "test" where there is one.
        best_epoch: the epoch of the best checkpoint: highest top-1 on validation, of equals the lowest loss.
        seconds: of training, validation included, all sessions of a resumed run together.
        sample_digest: SHA-256 over the samples of all steps in order; see `TrainingHistory`.
    """

    directory: Path
    recipe: ResolvedRecipe
    dataset: ImageDataset
    evaluations: dict[str, Metrics]
    best_epoch: int
    seconds: float
    sample_digest: str


def finish(session: Session, history: TrainingHistory) -> TrainResult:
    """Score the best checkpoint in float32, give it its temperature, write metrics.json and the report.

    A process that is killed in between is no harm: metrics.json comes last, so that a resumed run does all of this again,
    and the temperature is fitted on logits, which the one before has not changed.
    """
    recipe, dataset, feed, run = session.recipe, session.dataset, session.feed, session.run
    with session.ranks.raise_on_all():
        session.wait_for_saves()
        session.checkpoints.write_what_failed()
    best = run.layout.checkpoint("best")
    checkpoint = load_checkpoint(best)
    evaluations = _evaluations(session, checkpoint)
    temperature = evaluations["validation"].temperature
    with session.ranks.raise_on_all():
        if session.ranks.is_first and temperature != checkpoint.temperature:
            save_checkpoint(checkpoint.replace(temperature=temperature), best)
    num_steps = session.num_steps
    figures = {
        "best_epoch": history.best_epoch,
        "num_epochs": recipe.num_epochs,
        "num_steps": num_steps,
        "num_skipped": history.num_skipped,
        "temperature": temperature,
        "seconds": round(history.seconds, 1),
        "images_per_second": round(num_steps * recipe.batch_size / history.seconds, 1),
        "sample_digest": history.sample_digest,
    }
    if session.ranks.is_first:
        write_run_report(run.path, recipe, dataset, evaluations, feed, session.environment, history)
        run.write_metrics(evaluations, figures=figures)  # last: a run with metrics is finished
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
        seconds=history.seconds,
        sample_digest=history.sample_digest,
    )


def _evaluations(session: Session, checkpoint: Checkpoint) -> dict[str, Metrics]:
    """Score validation, on which the temperature is fitted, and test where there is one, with that temperature."""
    dataset, feed = session.dataset, session.feed
    forward = eager_forward(checkpoint, device=session.device)
    is_enough = len(dataset.splits["validation"]) >= _LEAST_PHOTOS_FOR_TEMPERATURE
    temperature = None if is_enough else 1.0
    evaluations: dict[str, Metrics] = {}
    for name in (name for name in ("validation", "test") if name in dataset.splits):
        batches = feed.evaluation_batches(name)
        evaluations[name] = score_batches(forward, batches, dataset.class_names, temperature=temperature)
        temperature = evaluations[name].temperature
    return evaluations
