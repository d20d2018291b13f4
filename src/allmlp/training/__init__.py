"""Training. A `Recipe` costs no torch; `train` loads it when first asked for.

Touch: `loop` (read it first), `setup`, `input_pipeline`, and recipe/, step/, snapshots/, distributed/.
Do not touch: a resumed run takes the same steps bit for bit; nothing may draw from a running generator.
A new one: see the sub-package; what another package may use is listed in `__all__` here.
"""

import importlib
from typing import TYPE_CHECKING, Any

from allmlp.training.distributed.speaker import is_first_process, is_speaker
from allmlp.training.progress import NoProgress, Progress
from allmlp.training.recipe.configs import DataConfig, OptimizerConfig, SavingConfig, ScheduleConfig, TransferConfig
from allmlp.training.recipe.recipe import Recipe, ResolvedRecipe
from allmlp.training.recipe.resolve import (
    asked,
    at_learning_rate,
    continued,
    resolved_with_checkpoint,
    with_num_epochs,
    with_settings,
)
from allmlp.training.run_folder import refuse_used_folder
from allmlp.training.stored_run import StoredRun, check_ended, stored_run

if TYPE_CHECKING:
    from allmlp.training.distributed.process_group import join_ranks
    from allmlp.training.learning_rate_sweep import (
        PAPER_GRID,
        SweepRun,
        check_grid_folder,
        train_grid,
        write_grid,
    )
    from allmlp.training.loop import TrainResult, train
    from allmlp.training.setup import num_training_photos

__all__ = [
    "PAPER_GRID",
    "DataConfig",
    "NoProgress",
    "OptimizerConfig",
    "Progress",
    "Recipe",
    "ResolvedRecipe",
    "SavingConfig",
    "ScheduleConfig",
    "StoredRun",
    "SweepRun",
    "TrainResult",
    "TransferConfig",
    "asked",
    "at_learning_rate",
    "check_ended",
    "check_grid_folder",
    "continued",
    "is_first_process",
    "is_speaker",
    "join_ranks",
    "num_training_photos",
    "refuse_used_folder",
    "resolved_with_checkpoint",
    "stored_run",
    "train",
    "train_grid",
    "with_num_epochs",
    "with_settings",
    "write_grid",
]


_HOME = {  # what needs torch
    "PAPER_GRID": "learning_rate_sweep",
    "TrainResult": "loop",
    "SweepRun": "learning_rate_sweep",
    "check_grid_folder": "learning_rate_sweep",
    "join_ranks": "distributed.process_group",
    "num_training_photos": "setup",
    "train": "loop",
    "train_grid": "learning_rate_sweep",
    "write_grid": "learning_rate_sweep",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
