"""Experiment trackers during a session: opened at its first step, closed at its end whatever ends it."""

import contextlib
from collections.abc import Iterator, Mapping, Sequence

from allmlp.config import to_dict
from allmlp.metrics import Metrics
from allmlp.report import flat_settings
from allmlp.training.loggers.logger import LoggedRun
from allmlp.training.loggers.registry import loggers_of
from allmlp.training.session import Session

__all__ = ["Tracking", "track"]


class Tracking:
    """The trackers of a session. Only the first of several processes has any."""

    def __init__(self, session: Session, names: Sequence[str]) -> None:
        self._session = session
        self._names = names
        self._trackers = session.progress.trackers
        self.is_finished = False

    def start(self, step: int) -> None:
        """Open the trackers of a run that starts or resumes at `step`; without names, those of its earlier sessions."""
        session = self._session
        if not session.ranks.is_first:
            return
        folder = session.run.layout.loggers
        settings = flat_settings(to_dict(session.recipe))
        for name in dict.fromkeys(self._names) or loggers_of(folder, session.progress.message):

            def run(name: str = name) -> LoggedRun:
                (folder / name).mkdir(parents=True, exist_ok=True)
                return LoggedRun(folder=folder / name, name=session.run.path.name, settings=settings, first_step=step)

            self._trackers.open(name, run)

    def finish(self, evaluations: Mapping[str, Metrics]) -> None:
        """Record the scores of the best checkpoint."""
        self.is_finished = True
        values = {f"{split}_top1": metrics.top1 for split, metrics in evaluations.items()}
        values |= {f"{split}_loss": metrics.loss for split, metrics in evaluations.items()}
        self._trackers.scores(self._session.plan.num_steps, values)


@contextlib.contextmanager
def track(session: Session, names: Sequence[str]) -> Iterator[Tracking]:
    """Yield the trackers of a session and close them at the end."""
    tracking = Tracking(session, names)
    try:
        yield tracking
    finally:
        session.progress.trackers.close(is_finished=tracking.is_finished)
