"""The end of a run: scores of the best checkpoint in float32, its temperature, its predictions, report and metrics.json."""

from dataclasses import asdict, dataclass
from itertools import chain
from pathlib import Path
from typing import Any

from allmlp.checkpoints import Checkpoint, load_checkpoint, save_checkpoint
from allmlp.data import ImageDataset
from allmlp.evaluation import prediction_rows
from allmlp.metrics import Metrics
from allmlp.report import TrainingScore
from allmlp.runs.predictions import write_predictions
from allmlp.training.recipe.recipe import ResolvedRecipe
from allmlp.training.reporting.final_scores import score_splits, score_training_photos
from allmlp.training.reporting.run_report import write_run_report
from allmlp.training.session import Session
from allmlp.training.snapshots.history import TrainingHistory

__all__ = ["TrainResult", "finish"]


@dataclass(frozen=True, kw_only=True)
class TrainResult:
    """The result of a finished run.

    Attributes:
        directory: the run folder.
        recipe: as resolved.
        dataset: with its validation split.
        evaluations: of the best checkpoint in float32, by split: "validation", and "test" if there is one.
        best_epoch: the epoch of the best checkpoint: highest validation top-1, ties broken by the lower loss.
        seconds: total training time, including validation and earlier sessions of a resumed run.
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
    """Score the best checkpoint in float32, store its temperature, and write predictions.csv, the report and metrics.json.

    It is safe to be killed at any point: metrics.json comes last, so a resumed run repeats all of this, and a temperature
    stored earlier does not change the logits on which the new one is fitted.
    """
    recipe, dataset, run = session.recipe, session.dataset, session.run
    with session.ranks.raise_on_all():
        session.wait_for_saves()
        session.checkpoints.finish()
    best = run.layout.checkpoint("best")
    checkpoint = load_checkpoint(best)
    evaluations = score_splits(checkpoint, session.pipeline, dataset, device=session.device)
    temperature = evaluations["validation"].temperature
    with session.ranks.raise_on_all():
        if session.ranks.is_first and temperature != checkpoint.temperature:
            save_checkpoint(checkpoint.replace(temperature=temperature), best)
    if session.ranks.is_first:
        _write(session, history, checkpoint, evaluations)
    for name, metrics in evaluations.items():
        session.progress.message(_score_line(name, metrics, epoch=history.best_epoch))
    return TrainResult(
        directory=run.path,
        recipe=recipe,
        dataset=dataset,
        evaluations=evaluations,
        best_epoch=history.best_epoch,
        seconds=history.seconds,
        sample_digest=history.sample_digest,
    )


def _write(session: Session, history: TrainingHistory, checkpoint: Checkpoint, evaluations: dict[str, Metrics]) -> None:
    """Write predictions.csv, the report and, last, metrics.json: a run that has it is finished."""
    recipe, dataset, pipeline, run = session.recipe, session.dataset, session.pipeline, session.run
    training_score = score_training_photos(checkpoint, pipeline, device=session.device)
    rows = (
        prediction_rows(
            metrics,
            dataset.class_names,
            split=name,
            sample_ids=dataset.splits[name].sample_ids,
            digests=pipeline.digests[name],
        )
        for name, metrics in evaluations.items()
    )
    write_predictions(run.layout.predictions, chain.from_iterable(rows))
    write_run_report(
        run.path, recipe, dataset, evaluations, pipeline, session.environment, history, training_score=training_score
    )
    run.write_metrics(evaluations, figures=_figures(session, history, evaluations, training_score))


def _figures(
    session: Session,
    history: TrainingHistory,
    evaluations: dict[str, Metrics],
    training_score: TrainingScore | None,
) -> dict[str, Any]:
    return {
        "best_epoch": history.best_epoch,
        "num_epochs": session.recipe.num_epochs,
        "num_steps": session.num_steps,
        "num_skipped": history.num_skipped,
        "temperature": evaluations["validation"].temperature,
        "seconds": round(history.seconds, 1),
        "images_per_second": round(session.num_steps * session.recipe.batch_size / history.seconds, 1),
        "sample_digest": history.sample_digest,
        "train": None if training_score is None else asdict(training_score),
    }


def _score_line(name: str, metrics: Metrics, *, epoch: float) -> str:
    parts = [f"{name:<10}  top-1 {metrics.top1:.1%}"]
    if metrics.has_top5:
        parts.append(f"top-5 {metrics.top5:.1%}")
    parts += [f"balanced {metrics.balanced_accuracy:.1%}", f"loss {metrics.loss:.3f}"]
    if metrics.has_calibration:
        parts.append(f"calibration error {metrics.expected_calibration_error:.1%}")
    return "   ".join([*parts, f"({metrics.num_examples:,} photos, checkpoint of epoch {epoch})"])
