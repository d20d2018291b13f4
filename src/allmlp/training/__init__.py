"""Training. A `Recipe` costs no torch; `train` loads it when first asked for."""

from typing import TYPE_CHECKING, Any

from allmlp.training.progress import Progress, Silence
from allmlp.training.recipe import DataConfig, OptimizerConfig, Recipe, SavingConfig, ScheduleConfig, TransferConfig
from allmlp.training.resume import StoredRun, stored_run

if TYPE_CHECKING:
    from allmlp.training.loop import TrainResult, train
    from allmlp.training.ranks import is_first_to_say

__all__ = [
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
    "is_first_to_say",
    "stored_run",
    "train",
]


def __getattr__(name: str) -> Any:
    if name in ("TrainResult", "train"):
        from allmlp.training import loop

        return getattr(loop, name)
    if name == "is_first_to_say":
        from allmlp.training.ranks import is_first_to_say

        return is_first_to_say
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
