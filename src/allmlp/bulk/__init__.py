"""Answers for any number of photos: a stored plan of numbered parts, one Parquet file per part, and search in features.

Safe to change: `engines` (who computes the parts), `search`, `tables` (the columns), messages.
Invariants: a part is a pure function of the plan and its number; it is written under a temporary name and renamed, and is
    done if its file carries the plan's digest. Whatever is killed, the same command goes on, and the bytes are those of a run
    without kills. Claims only save work.
To add one: an engine is a function in `engines` that runs a `Worker` for every part; a task is a case of `open_task`.
"""

from allmlp.bulk.engines import ENGINES, compute_parts, use_own_gpu
from allmlp.bulk.model import LoadedModel, load_model
from allmlp.bulk.photo_list import find_listed
from allmlp.bulk.plan import ModelOptions, Plan, PlanOptions, PreprocessingOptions, Task
from allmlp.bulk.result_folder import Request, ResultFolder, is_result_folder, open_results, read_results
from allmlp.bulk.search import Match, search_parts
from allmlp.bulk.worker import open_plan_model

__all__ = [
    "ENGINES",
    "LoadedModel",
    "Match",
    "ModelOptions",
    "Plan",
    "PlanOptions",
    "PreprocessingOptions",
    "Request",
    "ResultFolder",
    "Task",
    "compute_parts",
    "find_listed",
    "is_result_folder",
    "load_model",
    "open_plan_model",
    "open_results",
    "read_results",
    "search_parts",
    "use_own_gpu",
]
