"""Recipes, the training loop and run folders. Importing this package does not load torch; the first use of `train` does.

Safe to change: `loop` (read it first), `setup`, `input_pipeline`, and recipe/, step/, snapshots/, distributed/.
Invariants: a resumed run repeats the same steps bit for bit, so nothing may draw from a stateful generator.
To add one: see the sub-packages. The names that other packages may use are listed in `__all__` here.
"""

import importlib
from typing import TYPE_CHECKING, Any

from allmlp.training.distributed.speaker import is_first_process, is_speaker
from allmlp.training.progress import NoProgress, Progress
from allmlp.training.progress_display import ConsoleProgress, displayed_progress
from allmlp.training.recipe.configs import (
    DataConfig,
    DistillationConfig,
    OptimizerConfig,
    SavingConfig,
    ScheduleConfig,
    TransferConfig,
)
from allmlp.training.recipe.recipe import Recipe, ResolvedRecipe
from allmlp.training.recipe.resolve import (
    fitted_as,
    resolved_with_checkpoint,
    resumed_recipe,
    type_checked,
    with_learning_rate,
    with_settings,
)
from allmlp.training.reporting.stored_results import run_state
from allmlp.training.run_folder import refuse_used_folder
from allmlp.training.stop_signals import Stopped, StopSignal
from allmlp.training.stored_run import StoredRun, check_matches_run, damage_of, stored_run

if TYPE_CHECKING:
    from allmlp.training.distributed.process_group import ProcessGroup, join_ranks
    from allmlp.training.length.estimate import estimate_minutes
    from allmlp.training.reporting.compare_runs import RunComparison, compare_runs
    from allmlp.training.reporting.label_errors import CleanedPhotos, clean_photos, find_label_errors, undo_cleaning
    from allmlp.training.reporting.stored_report import report_run
    from allmlp.training.setup import num_training_photos
    from allmlp.training.several_runs.learning_rate_sweep import (
        PAPER_GRID,
        SweepRun,
        check_sweep_folder,
        train_sweep,
        write_sweep,
    )
    from allmlp.training.several_runs.training_run import TrainResult, train
    from allmlp.training.step.batch import TrainingBatch
    from allmlp.training.step.distillation import Teacher
    from allmlp.training.step.state import TrainState
    from allmlp.training.step.update import update

__all__ = [
    "PAPER_GRID",
    "CleanedPhotos",
    "ConsoleProgress",
    "DataConfig",
    "DistillationConfig",
    "NoProgress",
    "OptimizerConfig",
    "ProcessGroup",
    "Progress",
    "Recipe",
    "ResolvedRecipe",
    "RunComparison",
    "SavingConfig",
    "ScheduleConfig",
    "StopSignal",
    "Stopped",
    "StoredRun",
    "SweepRun",
    "Teacher",
    "TrainResult",
    "TrainState",
    "TrainingBatch",
    "TransferConfig",
    "check_matches_run",
    "check_sweep_folder",
    "clean_photos",
    "compare_runs",
    "damage_of",
    "displayed_progress",
    "estimate_minutes",
    "find_label_errors",
    "fitted_as",
    "is_first_process",
    "is_speaker",
    "join_ranks",
    "num_training_photos",
    "refuse_used_folder",
    "report_run",
    "resolved_with_checkpoint",
    "resumed_recipe",
    "run_state",
    "stored_run",
    "train",
    "train_sweep",
    "type_checked",
    "undo_cleaning",
    "update",
    "with_learning_rate",
    "with_settings",
    "write_sweep",
]


_LAZY_MODULES = {  # names that need torch, with the module that defines them
    "CleanedPhotos": "reporting.label_errors",
    "PAPER_GRID": "several_runs.learning_rate_sweep",
    "TrainResult": "several_runs.training_run",
    "TrainState": "step.state",
    "TrainingBatch": "step.batch",
    "Teacher": "step.distillation",
    "ProcessGroup": "distributed.process_group",
    "RunComparison": "reporting.compare_runs",
    "SweepRun": "several_runs.learning_rate_sweep",
    "check_sweep_folder": "several_runs.learning_rate_sweep",
    "clean_photos": "reporting.label_errors",
    "compare_runs": "reporting.compare_runs",
    "estimate_minutes": "length.estimate",
    "find_label_errors": "reporting.label_errors",
    "join_ranks": "distributed.process_group",
    "num_training_photos": "setup",
    "report_run": "reporting.stored_report",
    "train": "several_runs.training_run",
    "train_sweep": "several_runs.learning_rate_sweep",
    "undo_cleaning": "reporting.label_errors",
    "update": "step.update",
    "write_sweep": "several_runs.learning_rate_sweep",
}


def __getattr__(name: str) -> Any:
    if name not in _LAZY_MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_LAZY_MODULES[name]}"), name)
