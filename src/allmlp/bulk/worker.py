"""What a process does for a plan: it computes the parts that are not done and that no other process has claimed."""

import re
from collections.abc import Callable
from dataclasses import replace

from allmlp.bulk.claims import Claims
from allmlp.bulk.list_file import read_part_of_list
from allmlp.bulk.model import load_model
from allmlp.bulk.part_files import is_leftover, part_path, write_part
from allmlp.bulk.photo_source import PhotoSource
from allmlp.bulk.result_folder import ResultFolder
from allmlp.bulk.tables import Task, open_task
from allmlp.data import DEFAULT_MAX_MEGAPIXELS, set_max_megapixels
from allmlp.errors import ConfigError
from allmlp.inference import RunnableModel
from allmlp.io.display import Report, discard, escape
from allmlp.io.http_download import ReportProgress

__all__ = ["Worker", "open_plan_model"]

_LEFTOVER = re.compile(r"\.part-(\d{5,})\.parquet\..*\.part")


class Worker:
    """Computes parts, with the model of a plan, which is opened for the first of them.

    Attributes:
        advance: called after each photo.
    """

    def __init__(
        self, results: ResultFolder, open_it: Callable[[], RunnableModel], *, batch_size: int, report: Report = discard
    ) -> None:
        self._results = results
        self._open = open_it
        self._batch_size = batch_size
        self._report = report
        self._task: Task | None = None
        self._source = PhotoSource(results.plan)
        self.advance: Callable[[int], None] = _no_advance
        megapixels = results.plan.options.max_megapixels
        set_max_megapixels(DEFAULT_MAX_MEGAPIXELS if megapixels is None else megapixels)

    def run(self, parts: list[int]) -> None:
        """Compute those of the parts that are not done, and return when all are done, by whichever process.

        Raises:
            AllmlpError: see `compute`.
        """
        claims = Claims(self._results.path)
        try:
            self._remove_leftovers(claims)
            taken = [part for part in parts if not self._compute_claimed(claims, part, wait=False)]
            for part in taken:  # by other processes, which may be killed
                self._compute_claimed(claims, part, wait=True)
        finally:
            claims.close()

    def _compute_claimed(self, claims: Claims, part: int, *, wait: bool) -> bool:
        """Compute a part unless it is done; return False if another process has claimed it."""
        with claims.part(part, wait=wait) as is_mine:
            if is_mine:
                self.compute(part)
            return is_mine

    def compute(self, part: int) -> None:
        """Compute a part unless it is done, and write its file.

        Raises:
            ConfigError: the folder cannot be written to, or has a file that is not of the plan.
            DataError: the sources of the photos are not there.
        """
        results = self._results
        rows = results.plan.rows_of(part)
        state = results.state(part)
        if state.is_done:
            self.advance(len(rows))
            return
        if state.is_damaged:
            self._report(f"{escape(part_path(results.path, part))}: this part is damaged or cut short; computed again.")
        self._source.check()
        if self._task is None:
            self._task = open_task(results.plan, self._open(), batch_size=self._batch_size)
        listed = read_part_of_list(results.photo_list, part)
        names = [photo.name for photo in listed]
        photos = self._source.photos(listed)
        table, num_errors = self._task.table(rows, names, photos, advance=lambda: self.advance(1))
        self._source.check()  # they may have gone in the middle
        write_part(results.path, results.plan, part, table, num_errors=num_errors)

    def _remove_leftovers(self, claims: Claims) -> None:
        """Delete the temporary files of killed processes (see `is_leftover`), of parts on which no process has a claim."""
        if not claims.works:
            return
        for path in list(self._results.path.iterdir()):
            if match := _LEFTOVER.fullmatch(path.name):
                with claims.part(int(match[1])) as is_mine:
                    if is_mine and claims.works and is_leftover(path):
                        path.unlink(missing_ok=True)


def _no_advance(count: int) -> None:
    """Show nothing: nobody looks at the progress of this process."""


def open_plan_model(
    results: ResultFolder,
    source: str | None = None,
    *,
    device: str | None = None,
    report_progress: ReportProgress | None = None,
) -> RunnableModel:
    """Open the model of a plan from its source, or from another one that has the same model, on its device or another.

    Raises:
        ConfigError: another model is there, or the machine lacks what the plan's options need.
        CheckpointError: the model is not there.
    """
    plan = results.plan
    options = plan.model_options if device is None else replace(plan.model_options, device=device)
    model = load_model(source or plan.model, options, report_progress=report_progress)
    if model.digest != plan.model_sha256:
        raise ConfigError(
            f"{escape(source or plan.model)}: this is not the model of {escape(results.path)}, which was {escape(plan.model)}, "
            "or it has changed since. Its features cannot be compared with those of another model."
        )
    return model.open("features" if plan.task == "embed" else "logits")
