"""The end of a run: the best checkpoint scored in float32, metrics.json and the report."""

from dataclasses import dataclass
from pathlib import Path

from allmlp.checkpoints import load_checkpoint
from allmlp.data import ImageDataset, evaluation_batches
from allmlp.evaluation import Metrics, evaluate
from allmlp.inference import eager_forward
from allmlp.training.course import Course
from allmlp.training.recipe import Recipe
from allmlp.training.run_report import write_run_report
from allmlp.training.session import Session

__all__ = ["TrainResult", "finish"]


@dataclass(frozen=True, kw_only=True)
class TrainResult:
    """What a finished run is.

    Attributes:
        directory: the run folder.
        recipe: as resolved: classes, precision and epochs filled in.
        dataset: with its validation split.
        evaluations: of the best checkpoint, float32, by split: "validation", and "test" where there is one.
        best_epoch: the epoch of the best checkpoint: highest top-1 on validation, of equals the lowest loss.
        seconds: of training, validation included, all sessions of a resumed run together.
        sample_digest: SHA-256 over the samples of all steps in order; see `Course`.
    """

    directory: Path
    recipe: Recipe
    dataset: ImageDataset
    evaluations: dict[str, Metrics]
    best_epoch: int
    seconds: float
    sample_digest: str


def finish(session: Session, course: Course) -> TrainResult:
    """Score the best checkpoint in float32, write metrics.json and the report."""
    recipe, dataset, feed, run = session.recipe, session.dataset, session.feed, session.run
    with session.ranks.failing_together():
        session.write_what_failed()
    forward = eager_forward(load_checkpoint(run.path / "checkpoints" / "best"), device=session.device)
    evaluations = {}
    for name in (name for name in ("validation", "test") if name in dataset.splits):
        batches = evaluation_batches(
            feed.fitted(name),
            dataset.splits[name].labels,
            feed.preprocessing,
            num_classes=recipe.model.num_classes,
        )
        evaluations[name] = evaluate(forward, batches, dataset.class_names)
    num_steps = feed.num_steps(recipe)
    figures = {
        "best_epoch": course.best_epoch,
        "num_epochs": recipe.num_epochs,
        "num_steps": num_steps,
        "num_skipped": course.num_skipped,
        "seconds": round(course.seconds, 1),
        "images_per_second": round(num_steps * recipe.batch_size / course.seconds, 1),
        "sample_digest": course.sample_digest,
    }
    if session.ranks.is_writer:
        write_run_report(run, recipe, dataset, evaluations, feed, session.environment, best_epoch=course.best_epoch)
    run.write_metrics(evaluations, facts=figures)  # last: a run with metrics is finished
    for name, metrics in evaluations.items():
        session.progress.message(
            f"{name:<10}  top-1 {metrics.top1:.1%}   top-5 {metrics.top5:.1%}   balanced {metrics.balanced_accuracy:.1%}   "
            f"loss {metrics.loss:.3f}   ({metrics.num_examples:,} photos, checkpoint of epoch {course.best_epoch})"
        )
    return TrainResult(
        directory=run.path,
        recipe=recipe,
        dataset=dataset,
        evaluations=evaluations,
        best_epoch=course.best_epoch,
        seconds=course.seconds,
        sample_digest=course.sample_digest,
    )
