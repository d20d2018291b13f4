"""Pages for people: the report of a run with its plots, and the contact sheet of predictions.

Safe to change: `context` and `scores` (the values on the page), templates/ (their text and layout), `plots`, `sheet`.
Invariants: a page loads no script, font or picture; HTML is escaped by Jinja.
To add one: a section is a template in templates/sections/, and its values are in `context`.
"""

from allmlp.report.page import write_report
from allmlp.report.plots import learning_rates_plot
from allmlp.report.sheet import MAX_SHEET_PHOTOS, ContactSheet
from allmlp.report.summary import Mistake, RunSummary

__all__ = ["MAX_SHEET_PHOTOS", "ContactSheet", "Mistake", "RunSummary", "learning_rates_plot", "write_report"]
