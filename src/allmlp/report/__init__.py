"""Report of a run: plots, and one self-contained HTML page."""

from allmlp.report.page import write_report
from allmlp.report.plots import learning_rates_plot
from allmlp.report.summary import Mistake, RunSummary

__all__ = ["Mistake", "RunSummary", "learning_rates_plot", "write_report"]
