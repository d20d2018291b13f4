"""Progress of a training by `allmlp.train` as lines of a study."""

from collections.abc import Mapping

from allmlp.io.display import Report
from allmlp.training import NoProgress

__all__ = ["EveryTenth"]


class EveryTenth(NoProgress):
    """Reports about ten of the epochs."""

    def __init__(self, report: Report, num_steps: int) -> None:
        self._report, self._num_steps, self._reported = report, num_steps, 0.0

    def epoch(self, row: Mapping[str, float]) -> None:
        if row["step"] - self._reported >= self._num_steps / 10:
            self._reported = row["step"]
            top1 = f"top-1 on validation photos {row['validation_top1']:.1%}"
            self._report(f"  step {row['step']:,.0f} of {self._num_steps:,}: loss {row['train_loss']:.3f}, {top1}")
