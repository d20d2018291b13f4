"""Writing of a run's report: its plots and `report.html`, which needs no network and no script."""

from pathlib import Path

from allmlp.io.atomic_write import write_bytes, write_text
from allmlp.report import plots
from allmlp.report.context import page_context
from allmlp.report.rendering import render
from allmlp.report.summary import ReportSummary
from allmlp.runs.layout import RunLayout

__all__ = ["write_page", "write_report"]


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
    pngs = {"curves": plots.to_png(plots.curves_figure(summary))} if summary.results else {}
    if page.evaluation is not None:
        pngs["confusion"] = page.evaluation.matrix.png
        if page.evaluation.reliability is not None:
            pngs["reliability"] = page.evaluation.reliability.png
    if len(summary.training_sample):
        pngs["samples"] = plots.to_png(plots.samples_figure(summary.training_sample, summary.training_sample_captions))
    written = [write_bytes(RunLayout(directory).plots / f"{name}.png", png) for name, png in pngs.items()]
    written.append(write_text(RunLayout(directory).report, render("report.html", page=page)))
    return written
