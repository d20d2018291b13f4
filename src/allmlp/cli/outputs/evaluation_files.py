"""Files that `allmlp evaluate` writes on request: the report page, and the table with one row per photo."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from allmlp.cli.arguments.checkpoint import LoadedSource
from allmlp.cli.arguments.output_path import check_different, new_output_path
from allmlp.cli.progress import photo_bar
from allmlp.errors import ConfigError
from allmlp.io.display import Report, escape

if TYPE_CHECKING:
    from allmlp.checkpoints import ModelDescription
    from allmlp.data import ImageDataset
    from allmlp.evaluation import Evaluation
    from allmlp.explanations import ClassMap

__all__ = ["EvaluationOutputs", "check_outputs", "class_maps_of", "write_outputs"]


class EvaluationOutputs(NamedTuple):
    """The files to write; None for those that were not requested."""

    report: Path | None
    per_photo: Path | None


def check_outputs(report: Path | None, per_photo: Path | None, *, is_few_shot: bool) -> EvaluationOutputs:
    """Check the output paths before anything is scored.

    Raises:
        ConfigError: a path is in use, cannot be written or has the wrong suffix, or there is nothing to write with --shots.
    """
    given = [name for name, path in (("--report", report), ("--per-photo", per_photo)) if path is not None]
    if given and is_few_shot:
        raise ConfigError(
            f"{' and '.join(given)} cannot be combined with --shots, which scores one classifier per number of examples."
        )
    if report is not None:
        new_output_path(str(report), is_folder=False, name="--report", example="report.html")
    if per_photo is not None:
        if per_photo.suffix.lower() not in (".csv", ".parquet"):
            raise ConfigError(f"--per-photo {escape(per_photo)}: expected a file name that ends in .csv or .parquet.")
        new_output_path(str(per_photo), is_folder=False, name="--per-photo", example="predictions.csv")
    check_different({"--report": report, "--per-photo": per_photo})
    return EvaluationOutputs(report, per_photo)


def class_maps_of(source: LoadedSource, evaluation: "Evaluation", *, backend: str, device: str) -> "Sequence[ClassMap]":
    """Return what the patches of each class's photos contribute to its logit on average.

    Raises:
        CheckpointError, ConfigError, MissingExtraError: as `Explainer.from_checkpoint`.
    """
    from allmlp.explanations import Explainer

    explainer = Explainer.from_checkpoint(
        source.model, backend=backend, device=device, preprocessing=source.changes, unknown=False
    )
    with photo_bar() as progress:
        return explainer.class_maps(evaluation.photos, evaluation.truths, progress=progress)


def write_outputs(
    outputs: EvaluationOutputs,
    evaluation: "Evaluation",
    *,
    model: "ModelDescription",
    name: str,
    photos: "ImageDataset",
    words: Sequence[str],
    class_maps: "Sequence[ClassMap]" = (),
    report: Report,
) -> None:
    """Write the requested files and report their paths; `words` are the options with which the model was opened."""
    if outputs.per_photo is not None:
        from allmlp.runs.predictions import write_predictions

        report(f"wrote   {escape(write_predictions(outputs.per_photo, evaluation.per_photo()))}")
    if outputs.report is not None:
        from allmlp.provenance import environment
        from allmlp.report import write_evaluation_report

        page = write_evaluation_report(
            evaluation,
            outputs.report,
            model=model,
            name=name,
            dataset=photos,
            options=words,
            class_maps=class_maps,
            environment=environment(),
        )
        report(f"wrote   {escape(page)}")
