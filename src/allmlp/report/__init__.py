"""Report of a run: plots, and one self-contained HTML page.

Touch: `context` and `scores` (what the page shows, as values), templates/ (how it reads), `plots`.
Do not touch: no script, font or picture from elsewhere; escaping is Jinja's.
A new one: a section is a template in templates/sections/ and its values in `context`.
"""

from allmlp.report.page import write_report
from allmlp.report.plots import learning_rates_plot
from allmlp.report.summary import Mistake, RunSummary

__all__ = ["Mistake", "RunSummary", "learning_rates_plot", "write_report"]
