"""How good a model is on a data set: what the commands print, as values."""

from allmlp.evaluation.choose_split import ChosenSplit, choose_split, divide_as_run, split_of_run
from allmlp.evaluation.compare import Comparison, compare
from allmlp.evaluation.few_shot_score import FewShotEvaluation, evaluate_few_shot
from allmlp.evaluation.score import Evaluation, evaluate
from allmlp.evaluation.shares import ALONE, Shares

__all__ = [
    "ALONE",
    "ChosenSplit",
    "Comparison",
    "Evaluation",
    "FewShotEvaluation",
    "Shares",
    "choose_split",
    "compare",
    "divide_as_run",
    "evaluate",
    "evaluate_few_shot",
    "split_of_run",
]
