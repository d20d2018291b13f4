"""What a run looks like: its plots, and one HTML page that says how good the model is."""

from allmlp.report.page import write_report
from allmlp.report.plots import learning_rates_plot
from allmlp.report.summary import Mistake, RunSummary

__all__ = ["Mistake", "RunSummary", "learning_rates_plot", "write_report"]
