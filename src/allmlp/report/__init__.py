"""Pages and pictures for people: of runs, evaluations, comparisons, predictions, explanations, label errors and weights.

Safe to change: `context` and `scores` (the values on the page), `advice`, `galleries`, templates/ (text and layout), `plots`,
    `sheet`, cleaning/, heat_maps/, weight_pictures/.
Invariants: a page loads no script, font or picture; HTML is escaped by Jinja.
To add one: a section is a template in templates/sections/, and its values are in `context`.
"""

from allmlp.report.advice import FEW_PER_CLASS, IMBALANCE, IMBALANCE_REMEDY
from allmlp.report.cleaning.page import MAX_SHOWN_ERRORS, LabelErrors
from allmlp.report.comparison import ComparedRun, PairedTest, RunComparison, Score, write_comparison
from allmlp.report.facts import absolute_command, flat_settings, model_rows
from allmlp.report.galleries import choose_galleries
from allmlp.report.heat_maps.folder import MAX_EXPLAINED_PHOTOS, ExplanationFolder
from allmlp.report.page import write_evaluation_report, write_page, write_report
from allmlp.report.plots import learning_rates_plot, to_png
from allmlp.report.sheet import MAX_SHEET_PHOTOS, ContactSheet
from allmlp.report.summary import Galleries, ReportSummary, ShownPhoto, Stopped, TrainingScore
from allmlp.report.weight_pictures.files import draw_weights, new_weight_pictures

__all__ = [
    "FEW_PER_CLASS",
    "IMBALANCE",
    "IMBALANCE_REMEDY",
    "MAX_EXPLAINED_PHOTOS",
    "MAX_SHEET_PHOTOS",
    "MAX_SHOWN_ERRORS",
    "ComparedRun",
    "ContactSheet",
    "ExplanationFolder",
    "Galleries",
    "LabelErrors",
    "PairedTest",
    "ReportSummary",
    "RunComparison",
    "Score",
    "ShownPhoto",
    "Stopped",
    "TrainingScore",
    "absolute_command",
    "choose_galleries",
    "draw_weights",
    "flat_settings",
    "learning_rates_plot",
    "model_rows",
    "new_weight_pictures",
    "to_png",
    "write_comparison",
    "write_evaluation_report",
    "write_page",
    "write_report",
]
