"""How good a model is: the same numbers for any batch size, any padding and any backend."""

from allmlp.evaluation.classification import ClassMetrics, Forward, Metrics, evaluate

__all__ = ["ClassMetrics", "Forward", "Metrics", "evaluate"]
