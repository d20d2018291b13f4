"""The scores of a run, for the model card of its best checkpoint."""

import json
from pathlib import Path

from allmlp.checkpoints.publish.model_card import CardScore
from allmlp.io.path_problem import check_regular
from allmlp.metrics import accuracy_text, wilson_interval
from allmlp.runs.layout import RunLayout

__all__ = ["run_scores"]


def run_scores(source: str) -> list[CardScore]:
    """Return the scores of the best checkpoint from a run folder; none for any other source."""
    metrics = RunLayout(Path(source)).metrics
    try:
        check_regular(metrics)
        values = json.loads(metrics.read_text(encoding="utf-8"))
        scores = []
        for split, figures in values["evaluations"].items():
            top1, num_photos = float(figures["top1"]), int(figures["num_examples"])
            num_correct = round(top1 * num_photos)
            low, high = figures.get("top1_interval") or wilson_interval(num_correct, num_photos)
            scores.append(CardScore(split, top1, accuracy_text(num_correct, num_photos, (low, high))))
        return scores
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return []
