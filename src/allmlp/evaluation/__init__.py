"""Evaluation of a model on a data set: the results that the commands print, as values.

Safe to change: `score` (start reading here), `choose_split`, `class_matching`, `few_shot_score`, `compare`,
    `unknown_threshold`, `verification`.
Invariants: classes are matched by name, never by position.
To add one: a file with a function from a `RunnableModel` and data to a frozen dataclass; the arithmetic goes to metrics/.
"""

from allmlp.evaluation.answers import Answers, answer_batches, changed_answers
from allmlp.evaluation.choose_split import ChosenSplit, choose_split, divide_as_run, split_of_run
from allmlp.evaluation.compare import UNNAMED, ComparedPhotos, Comparison, compare, photos_by_split, photos_to_compare
from allmlp.evaluation.few_shot_score import FewShotEvaluation, evaluate_few_shot
from allmlp.evaluation.per_photo import prediction_rows
from allmlp.evaluation.score import Evaluation, evaluate
from allmlp.evaluation.shares import SINGLE_PROCESS, Shares
from allmlp.evaluation.sources import trained_on_by
from allmlp.evaluation.unknown_threshold import KEPT_SHARE, MIN_PHOTOS_FOR_UNKNOWN, fit_unknown, unknown_rule
from allmlp.evaluation.verification import DEFAULT_TOLERANCE, ExportVerification, check_verifiable, verify_export

__all__ = [
    "DEFAULT_TOLERANCE",
    "KEPT_SHARE",
    "MIN_PHOTOS_FOR_UNKNOWN",
    "SINGLE_PROCESS",
    "UNNAMED",
    "Answers",
    "ChosenSplit",
    "ComparedPhotos",
    "Comparison",
    "Evaluation",
    "ExportVerification",
    "FewShotEvaluation",
    "Shares",
    "answer_batches",
    "changed_answers",
    "check_verifiable",
    "choose_split",
    "compare",
    "divide_as_run",
    "evaluate",
    "evaluate_few_shot",
    "fit_unknown",
    "photos_by_split",
    "photos_to_compare",
    "prediction_rows",
    "split_of_run",
    "trained_on_by",
    "unknown_rule",
    "verify_export",
]
