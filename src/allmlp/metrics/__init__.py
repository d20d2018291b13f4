"""How good a model is: the same numbers for any batch size, any padding and any backend."""

from allmlp.metrics.calibration import ReliabilityBin, expected_calibration_error, fit_temperature, reliability
from allmlp.metrics.classification import ClassMetrics, Forward, Metrics, evaluate
from allmlp.metrics.few_shot import AUTHORS_PENALTY, PENALTIES, FewShot, FewShotDraw, draw_examples, few_shot

__all__ = [
    "AUTHORS_PENALTY",
    "PENALTIES",
    "ClassMetrics",
    "FewShot",
    "FewShotDraw",
    "Forward",
    "Metrics",
    "ReliabilityBin",
    "draw_examples",
    "evaluate",
    "expected_calibration_error",
    "few_shot",
    "fit_temperature",
    "reliability",
]
