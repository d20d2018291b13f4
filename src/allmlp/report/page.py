"""Writing of pages: a run's with its plots, or an evaluation's. They need no network and no script."""

from collections.abc import Sequence
from pathlib import Path

from allmlp.checkpoints import ModelDescription
from allmlp.data import ImageDataset, absolute_source
from allmlp.evaluation import Evaluation
from allmlp.explanations import ClassMap
from allmlp.io.atomic_write import write_bytes, write_text
from allmlp.report import plots
from allmlp.report.context import page_context
from allmlp.report.facts import absolute_command, model_rows
from allmlp.report.galleries import choose_galleries
from allmlp.report.pictures import side_by_side
from allmlp.report.rendering import render
from allmlp.report.summary import ReportSummary
from allmlp.runs.layout import RunLayout

__all__ = ["write_evaluation_report", "write_page", "write_report"]


def write_page(summary: ReportSummary, path: Path) -> Path:
    """Write the page alone to `path` and return it.

    Raises:
        AllmlpError: the disk is full, or the folder is not writable.
    """
    return write_text(path, render("report.html", page=page_context(summary)))


def write_report(summary: ReportSummary, directory: Path) -> list[Path]:
    """Write `plots/` (curves, confusion, reliability, samples) and `report.html` into a run folder; return their paths.

    The page is self-contained: it embeds its pictures and style and loads nothing. Plots without data (no evaluation, no
    training photos) are omitted.

    Raises:
        AllmlpError: the disk is full, or the folder is not writable.
    """
    page = page_context(summary)
    panels = [] if page.training is None else [panel.png for panel in page.training.panels]
    pngs = {"curves": side_by_side(panels)} if panels else {}
    if page.evaluation is not None:
        pngs["confusion"] = page.evaluation.matrix.png
        if page.evaluation.reliability is not None:
            pngs["reliability"] = page.evaluation.reliability.png
    if len(summary.training_sample):
        pngs["samples"] = plots.to_png(plots.samples_figure(summary.training_sample, summary.training_sample_captions))
    written = [write_bytes(RunLayout(directory).plots / f"{name}.png", png) for name, png in pngs.items()]
    written.append(write_text(RunLayout(directory).report, render("report.html", page=page)))
    return written


def write_evaluation_report(
    evaluation: Evaluation,
    path: Path,
    *,
    model: ModelDescription,
    name: str,
    dataset: ImageDataset,
    options: Sequence[str] = (),
    class_maps: Sequence[ClassMap] = (),
    environment: dict[str, str] | None = None,
) -> Path:
    """Write the page of an evaluation, that of a training run without its training, to `path` and return it.

    Args:
        evaluation: the scores.
        path: the HTML file.
        model: the description of the model that was scored.
        name: the model's path or name.
        dataset: the photos that were scored.
        options: words that a printed command needs to use the model in the same way.
        class_maps: what the patches of each class's photos contribute to its logit on average.
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
    # A folder of classes without splits counts as "train", which its owner has never called it.
    split = "labelled" if set(dataset.splits) == {"train"} else evaluation.split
    summary = ReportSummary(
        name=name,
        kind="an evaluation",
        environment=environment or {},
        model={"source": model.source, **model_rows(model.config)},
        source=absolute_source(dataset),
        splits=((split, evaluation.num_photos),),
        class_names=evaluation.class_names,
        notes=(*dataset.notes, *remarks),
        evaluations={split: evaluation},
        galleries=choose_galleries(evaluation.photos, evaluation, evaluation.class_names),
        class_maps=tuple(class_maps),
        next_commands=(f"{absolute_command('predict', place, *options)} PHOTO.jpg",),
    )
    return write_page(summary, path)
