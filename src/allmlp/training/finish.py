"""The end of a run: scores of the best checkpoint in float32, its temperature, its predictions, report and metrics.json."""

import dataclasses
import shlex
from dataclasses import asdict, dataclass
from itertools import chain
from pathlib import Path
from typing import Any
from urllib.parse import quote

from allmlp.checkpoints import Checkpoint, UnknownRule, load_checkpoint, save_checkpoint
from allmlp.data import ImageDataset, default_split
from allmlp.evaluation import MIN_PHOTOS_FOR_UNKNOWN, prediction_rows
from allmlp.io.display import escape, html_table
from allmlp.metrics import Metrics
from allmlp.report import TrainingScore
from allmlp.runs.layout import RunLayout
from allmlp.runs.predictions import write_predictions
from allmlp.training.recipe.recipe import ResolvedRecipe
from allmlp.training.reporting.final_scores import fit_unknown_threshold, score_splits, score_training_photos
from allmlp.training.reporting.out_of_fold import CROSS_VALIDATION, OutOfFold
from allmlp.training.reporting.run_report import write_run_report
from allmlp.training.session import Session
from allmlp.training.snapshots.history import TrainingHistory

__all__ = ["TrainResult", "finish"]


@dataclass(frozen=True, kw_only=True, repr=False)
class TrainResult:
    """The result of a finished run.

    Attributes:
        directory: the run folder.
        recipe: as resolved.
        dataset: with its validation split.
        evaluations: of the best checkpoint in float32, by split: "validation", and "test" if there is one. With
            cross-validation, "cross-validation" instead of "validation": each photo predicted by a fold's last weights.
        best_epoch: the epoch of the best checkpoint, by the rule of the recipe (`Recipe.best_by`).
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

    def __repr__(self) -> str:
        name = default_split(self.evaluations)
        return f"TrainResult({escape(self.directory)}: {name} top-1 {self.evaluations[name].top1_text})"

    def _repr_html_(self) -> str:
        """Return the scores as a table, with the run folder and a link to its report, for notebooks."""
        rows = [
            (name, f"{metrics.num_examples:,}", metrics.top1_text, f"{metrics.balanced_accuracy:.1%}")
            for name, metrics in self.evaluations.items()
        ]
        table = html_table(
            ("split", "photos", "top-1", "balanced accuracy"), rows, footer=f"run folder: {self.directory}"
        )
        return f'{table}<p><a href="{_address(RunLayout(self.directory).report)}" target="_blank">report</a></p>'


def finish(session: Session, history: TrainingHistory, out_of_fold: OutOfFold | None = None) -> TrainResult:
    """Score the best checkpoint in float32, store what was fitted on validation photos, and write the results of the run.

    Fitted are the temperature and the threshold of "unknown"; written are predictions.csv, the report and metrics.json.

    Without validation photos, the scores, the temperature and the threshold come from cross-validation, `out_of_fold`.

    It is safe to be killed at any point: metrics.json comes last, so a resumed run repeats all of this, and a temperature
    stored earlier does not change the logits on which the new one is fitted.
    """
    recipe, dataset, run = session.recipe, session.dataset, session.run
    with session.ranks.raise_on_all():
        session.wait_for_saves()
        session.checkpoints.finish()
    best = run.layout.checkpoint("best")
    checkpoint = load_checkpoint(best)
    session.progress.message(f"scores  {_scored(dataset, out_of_fold)}")
    evaluations = score_splits(checkpoint, session.pipeline, dataset, device=session.device, out_of_fold=out_of_fold)
    unknown = fit_unknown_threshold(
        checkpoint,
        session.pipeline,
        dataset,
        device=session.device,
        has_new_features=recipe.transfer.trained_blocks != 0,
        out_of_fold=out_of_fold,
    )
    temperature = next(iter(evaluations.values())).temperature
    with session.ranks.raise_on_all():
        if session.ranks.is_first and (temperature, unknown) != (checkpoint.temperature, checkpoint.unknown):
            save_checkpoint(checkpoint.replace(temperature=temperature, unknown=unknown), best)
    if session.ranks.is_first:
        _write(session, history, checkpoint, evaluations, out_of_fold)
    cut_short = session.plan.cut_short(history)
    if cut_short is not None:
        session.progress.message(f"warning {cut_short}")
    for name, metrics in evaluations.items():
        session.progress.message(_score_line(name, metrics, epoch=history.best_epoch))
    session.progress.message(_unknown_line(unknown, dataset, out_of_fold, run=run.path))
    return TrainResult(
        directory=run.path,
        recipe=recipe,
        dataset=dataset,
        evaluations=evaluations,
        best_epoch=history.best_epoch,
        num_epochs=session.plan.epochs_at(session.plan.num_steps),
        minutes_needed=history.minutes_needed,
        seconds=history.seconds,
        sample_digest=history.sample_digest,
    )


def _write(
    session: Session,
    history: TrainingHistory,
    checkpoint: Checkpoint,
    evaluations: dict[str, Metrics],
    out_of_fold: OutOfFold | None,
) -> None:
    """Write predictions.csv, the report and, last, metrics.json: a run that has it is finished."""
    recipe, dataset, pipeline, run = session.recipe, session.dataset, session.pipeline, session.run
    session.progress.message("report  plots and the page of the run")
    training_score = score_training_photos(checkpoint, pipeline, device=session.device)
    sample_ids = {name: split.sample_ids for name, split in dataset.splits.items()}
    digests = dict(pipeline.digests)
    if out_of_fold is not None:
        known = dict(zip(sample_ids["train"], digests["train"], strict=True))
        sample_ids[CROSS_VALIDATION] = out_of_fold.split.sample_ids
        digests[CROSS_VALIDATION] = [known[sample_id] for sample_id in out_of_fold.split.sample_ids]
    rows = (
        prediction_rows(metrics, dataset.class_names, split=name, sample_ids=sample_ids[name], digests=digests[name])
        for name, metrics in evaluations.items()
    )
    write_predictions(run.layout.predictions, chain.from_iterable(rows))
    cut_short = session.plan.cut_short(history)
    write_run_report(
        run.path,
        recipe,
        dataclasses.replace(dataset, notes=(*dataset.notes, *((cut_short,) if cut_short else ()))),
        evaluations,
        pipeline,
        session.environment,
        history,
        training_score=training_score,
    )
    run.write_metrics(evaluations, figures=_figures(session, history, evaluations, training_score))


def _figures(
    session: Session,
    history: TrainingHistory,
    evaluations: dict[str, Metrics],
    training_score: TrainingScore | None,
) -> dict[str, Any]:
    num_steps = session.plan.num_steps
    return {
        "best_epoch": history.best_epoch,
        "num_epochs": round(session.plan.epochs_at(num_steps), 2),
        "num_steps": num_steps,
        "planned_epochs": session.recipe.num_epochs,
        "minutes_needed": history.minutes_needed,
        "cut_short": session.plan.cut_short(history),
        "revisions": history.revisions,
        "fold_revisions": session.plan.fold_revisions,
        "num_skipped": history.num_skipped,
        "temperature": next(iter(evaluations.values())).temperature,
        "seconds": round(history.seconds, 1),
        "images_per_second": round(num_steps * session.recipe.batch_size / history.seconds, 1),
        "sample_digest": history.sample_digest,
        "train": None if training_score is None else asdict(training_score),
    }


def _scored(dataset: ImageDataset, out_of_fold: OutOfFold | None) -> str:
    """Return what is scored, in words: this may take as long as an epoch."""
    sizes = {} if out_of_fold is None else {CROSS_VALIDATION: len(out_of_fold.split)}
    sizes |= {name: len(dataset.splits[name]) for name in ("validation", "test") if name in dataset.splits}
    return f"the best checkpoint on {', '.join(f'{name} {size:,}' for name, size in sizes.items())} photos"


def _address(path: Path) -> str:
    """Return the address of a file for a page in the working directory: relative if it is below, as notebooks need it."""
    absolute = path.absolute()
    return (
        quote(absolute.relative_to(Path.cwd()).as_posix()) if absolute.is_relative_to(Path.cwd()) else absolute.as_uri()
    )


def _unknown_line(
    unknown: UnknownRule | None, dataset: ImageDataset, out_of_fold: OutOfFold | None, *, run: Path
) -> str:
    """Return on what the threshold of "unknown" rests, or why there is none."""
    if unknown is not None:
        number = f"{unknown.num_photos:,}"
        return f"unknown     predict answers it for photos unlike {unknown.kept:.0%} of {number} photos of the classes"
    photos = dataset.splits.get("validation") if out_of_fold is None else out_of_fold.split
    if photos is not None and len(photos) < MIN_PHOTOS_FOR_UNKNOWN:
        kind = "validation photos" if out_of_fold is None else "photos were held out"
        return f"unknown     no threshold: {len(photos)} {kind}, and at least {MIN_PHOTOS_FOR_UNKNOWN} are needed"
    if photos is not None and (out_of_fold is None or out_of_fold.closeness is not None):
        return (
            f"unknown     no threshold: of {len(photos):,} photos, fewer than {MIN_PHOTOS_FOR_UNKNOWN} differ in what the "
            "model sees in them"
        )
    command = shlex.join(["allmlp", "convert", str(run), "NEW", "--to", "allmlp", "--unknown-from", "PHOTOS"])
    return f"unknown     no threshold: it needs validation photos. From other photos: {command}"


def _score_line(name: str, metrics: Metrics, *, epoch: float) -> str:
    scores = "   ".join(f"{score} {value}" for score, value in metrics.rows())
    return f"{name:<10}  {scores}   (checkpoint of epoch {epoch})"
