"""TensorBoard: event files in the run folder."""

from collections.abc import Mapping
from typing import Any

from allmlp.training.loggers.logger import LoggedRun, Logger

__all__ = ["open_tensorboard"]


class _TensorBoard:
    def __init__(self, writer: Any) -> None:
        self._writer = writer

    def log(self, step: int, values: Mapping[str, float]) -> None:
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)

    def close(self, *, is_finished: bool) -> None:  # noqa: ARG002 - TensorBoard has no such state
        self._writer.close()


def open_tensorboard(run: LoggedRun) -> Logger:
    """Open an event file in RUN/loggers/tensorboard. A resumed run adds one, which replaces later steps of earlier ones."""
    from torch.utils.tensorboard import SummaryWriter

    # TensorBoard hides the steps after `purge_step` that a killed session logged and the resumed one repeats.
    purge_step = run.first_step + 1 if run.first_step else None
    writer: Any = SummaryWriter(str(run.folder), purge_step=purge_step)
    if not run.first_step:
        rows = "\n".join(f"| {key} | `{value}` |" for key, value in run.settings.items())
        writer.add_text("recipe", f"| setting | value |\n|---|---|\n{rows}")
    return _TensorBoard(writer)
