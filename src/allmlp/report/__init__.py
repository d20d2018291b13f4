"""Report of a run: plots and a self-contained HTML page.

Safe to change: `context` and `scores` (the values on the page), templates/ (its text and layout), `plots`.
Invariants: the page loads no script, font or picture; HTML is escaped by Jinja.
To add one: a section is a template in templates/sections/, and its values are in `context`.
"""

from allmlp.report.page import write_report
from allmlp.report.plots import learning_rates_plot
from allmlp.report.summary import Mistake, RunSummary

__all__ = ["Mistake", "RunSummary", "learning_rates_plot", "write_report"]
