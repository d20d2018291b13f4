"""Metrics in pure NumPy: the same numbers for any batch size, any padding and any backend.

Safe to change: `classification` (top-k, losses), `scores` (what people are shown), `calibration`, `confident_learning`,
    `few_shot`, `intervals`, `ridge`, `softmax`, `unknown`.
Invariants: masked rows never count, and torch is never imported.
To add one: a file with functions from arrays to a frozen dataclass, tested against a library or by hand.
"""

from allmlp.metrics.calibration import ReliabilityBin, expected_calibration_error, fit_temperature, reliability
from allmlp.metrics.classification import Forward, score_batches
from allmlp.metrics.confident_learning import likely_label_errors, normalized_margins
from allmlp.metrics.few_shot import (
    AUTHORS_PENALTY,
    PENALTIES,
    FewShot,
    FewShotDraw,
    FewShotOptions,
    LabelledFeatures,
    draw_examples,
    few_shot,
)
from allmlp.metrics.intervals import (
    ROUGH_INTERVAL,
    accuracy_text,
    cross_validation_interval,
    mcnemar_p_value,
    wilson_interval,
)
from allmlp.metrics.scores import MIN_PHOTOS_FOR_CALIBRATION, ClassMetrics, Metrics
from allmlp.metrics.softmax import softmax
from allmlp.metrics.unknown import (
    auroc,
    closeness,
    first_of_copies,
    fit_closeness,
    fit_threshold,
    held_out_closeness,
)

__all__ = [
    "AUTHORS_PENALTY",
    "MIN_PHOTOS_FOR_CALIBRATION",
    "PENALTIES",
    "ROUGH_INTERVAL",
    "ClassMetrics",
    "FewShot",
    "FewShotDraw",
    "FewShotOptions",
    "Forward",
    "LabelledFeatures",
    "Metrics",
    "ReliabilityBin",
    "accuracy_text",
    "auroc",
    "closeness",
    "cross_validation_interval",
    "draw_examples",
    "expected_calibration_error",
    "few_shot",
    "first_of_copies",
    "fit_closeness",
    "fit_temperature",
    "fit_threshold",
    "held_out_closeness",
    "likely_label_errors",
    "mcnemar_p_value",
    "normalized_margins",
    "reliability",
    "score_batches",
    "softmax",
    "wilson_interval",
]
