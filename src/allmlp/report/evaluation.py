"""Report of an evaluation: the page of a training run without its training."""

from collections.abc import Sequence
from pathlib import Path

from allmlp.checkpoints import ModelDescription
from allmlp.data import ImageDataset, absolute_source
from allmlp.evaluation import Evaluation
from allmlp.report.facts import absolute_command, model_rows
from allmlp.report.galleries import choose_galleries
from allmlp.report.page import write_page
from allmlp.report.summary import ReportSummary

__all__ = ["write_evaluation_report"]


def write_evaluation_report(
    evaluation: Evaluation,
    path: Path,
    *,
    model: ModelDescription,
    name: str,
    dataset: ImageDataset,
    options: Sequence[str] = (),
    environment: dict[str, str] | None = None,
) -> Path:
    """Write the page of an evaluation to `path` and return it.

    Args:
        evaluation: the scores.
        path: the HTML file.
        model: the description of the model that was scored.
        name: the model's path or name.
        dataset: the photos that were scored.
        options: words that a printed command needs to use the model in the same way.
        environment: versions and hardware, for a section of their own.

    Raises:
        AllmlpError: the disk is full, or the folder is not writable.
    """
    place = Path(name) if Path(name).exists() else name
    remarks = [evaluation.remark] * bool(evaluation.remark)
    if evaluation.trained_on:
        remarks.append(
            f"The model was trained on {len(evaluation.trained_on):,} of these photos, known by their content: its score is "
            "too optimistic."
        )
    summary = ReportSummary(
        name=name,
        kind="an evaluation",
        environment=environment or {},
        model={"source": model.source, **model_rows(model.config)},
        source=absolute_source(dataset),
        splits=((evaluation.split, evaluation.num_photos),),
        class_names=evaluation.class_names,
        notes=(*dataset.notes, *remarks),
        evaluations={evaluation.split: evaluation},
        galleries=choose_galleries(evaluation.photos, evaluation, evaluation.class_names),
        next_commands=(f"{absolute_command('predict', place, *options)} PHOTO.jpg",),
    )
    return write_page(summary, path)
