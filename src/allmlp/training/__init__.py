"""Training. A `Recipe` costs no torch; `train` loads it when first asked for."""

import importlib
from typing import TYPE_CHECKING, Any

from allmlp.training.progress import Progress, Silence
from allmlp.training.recipe import DataConfig, OptimizerConfig, Recipe, SavingConfig, ScheduleConfig, TransferConfig
from allmlp.training.resume import StoredRun, check_ended, recipe_to_continue, saved_split, stored_run
from allmlp.training.run import refuse_used_folder
from allmlp.training.transfer import as_begun, with_settings

if TYPE_CHECKING:
    from allmlp.training.grid import PAPER_GRID, Trial, at_learning_rate, check_grid_folder, train_grid, write_grid
    from allmlp.training.loop import TrainResult, train
    from allmlp.training.prepare import num_training_photos
    from allmlp.training.ranks import is_first_to_say

__all__ = [
    "PAPER_GRID",
    "DataConfig",
    "OptimizerConfig",
    "Progress",
    "Recipe",
    "SavingConfig",
    "ScheduleConfig",
    "Silence",
    "StoredRun",
    "TrainResult",
    "TransferConfig",
    "Trial",
    "as_begun",
    "at_learning_rate",
    "check_ended",
    "check_grid_folder",
    "is_first_to_say",
    "num_training_photos",
    "recipe_to_continue",
    "refuse_used_folder",
    "saved_split",
    "stored_run",
    "train",
    "train_grid",
    "with_settings",
    "write_grid",
]


_HOME = {  # what needs torch
    "PAPER_GRID": "grid",
    "TrainResult": "loop",
    "Trial": "grid",
    "at_learning_rate": "grid",
    "check_grid_folder": "grid",
    "is_first_to_say": "ranks",
    "num_training_photos": "prepare",
    "train": "loop",
    "train_grid": "grid",
    "write_grid": "grid",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
