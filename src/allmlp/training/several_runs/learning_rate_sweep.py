"""Learning-rate sweep: one run of a recipe per learning rate, compared only on the validation photos."""

import dataclasses
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from allmlp.data import ImageDataset
from allmlp.errors import ConfigError, DivergedError, ReportedError
from allmlp.io.atomic_write import write_bytes, write_json
from allmlp.io.display import escape
from allmlp.io.path_problem import check_regular
from allmlp.report import learning_rates_plot
from allmlp.runs.layout import RunLayout, SweepLayout
from allmlp.training.progress import Progress
from allmlp.training.recipe.recipe import Recipe
from allmlp.training.recipe.resolve import with_learning_rate
from allmlp.training.run_folder import refuse_used_folder
from allmlp.training.several_runs.training_run import train
from allmlp.training.stored_run import StoredRun, check_matches_run, stored_run

__all__ = ["PAPER_GRID", "SweepRun", "check_sweep_folder", "train_sweep", "write_sweep"]

PAPER_GRID = (0.003, 0.01, 0.03, 0.06)
"""The rates for fine-tuning on CIFAR, Pets and Flowers: MLP-Mixer, appendix A.2."""


@dataclass(frozen=True, kw_only=True)
class SweepRun:
    """A run of a sweep.

    Attributes:
        learning_rate: the peak learning rate.
        run: its folder.
        top1, loss: of its best checkpoint on the validation photos; None if it diverged.
    """

    learning_rate: float
    run: Path
    top1: float | None
    loss: float | None


def check_sweep_folder(path: Path, *, resume: bool) -> None:
    """Check that a sweep may be written to `path`, or that the sweep in it may be resumed.

    Raises:
        ConfigError: `path` is a file, a single run, a sweep although `resume` is False, or a folder with other content.
    """
    if resume and RunLayout(path).recipe.exists():
        raise ConfigError(
            f"{path}: this is a single run, not a sweep. Omit --lr-grid to resume it, or start a sweep with --out."
        )
    if not SweepLayout(path).runs():
        refuse_used_folder(path)
    elif not resume:
        raise ConfigError(
            f"{path}: holds another sweep; nothing is ever overwritten. Choose another folder with --out, or resume the "
            f"sweep with --resume {path}."
        )


def train_sweep(
    recipe: Recipe,
    data: ImageDataset,
    directory: Path,
    learning_rates: Sequence[float],
    *,
    device: str,
    progress: Progress,
    resume: bool,
    loggers: Sequence[str] = (),
) -> list[SweepRun]:
    """Train once per learning rate, in `directory`/lr-<rate>, and return the runs, best first, diverged ones last.

    The test photos are scored in each run but select nothing. `resume` continues where an earlier call stopped; the runs that
    it completed at other rates are returned, too.

    Raises:
        ConfigError: invalid rates, a length that depends on the machine's speed, cross-validation, a used folder, or
            runs of another recipe.
        DataError: as `train`; or runs on other photos.
    """
    runs = [SweepLayout(directory).run(rate) for rate in learning_rates]
    if not runs or len(set(runs)) < len(runs):
        raise ConfigError(
            f"the learning rates are {', '.join(map(str, learning_rates))}; expected one or more rates that differ in their "
            "first six digits."
        )
    if recipe.max_minutes is not None:
        raise ConfigError(
            f"max_minutes is {recipe.max_minutes:g}: runs whose length depends on the machine's speed cannot be compared. "
            "Turn it off with --set max_minutes=none and set the length with --epochs."
        )
    if recipe.data.folds and "validation" not in data.splits:
        raise ConfigError(
            f"data.folds is {recipe.data.folds}, but learning rates are compared on photos that are held out once. Omit "
            "--folds, find a rate, and cross-validate with that."
        )
    recipes = [
        with_learning_rate(recipe, rate) for rate in learning_rates
    ]  # rejects an invalid rate before any training
    completed = _completed_runs(recipe, data, directory) if resume else {}
    results = list(completed.values())
    for number, (rate, rate_recipe, run) in enumerate(zip(learning_rates, recipes, runs, strict=True), start=1):
        if run in completed:
            continue
        progress.message(f"\nlearning rate {rate:g}, {number} of {len(learning_rates)}: {escape(run)}")
        try:
            result = train(rate_recipe, data, run, device=device, progress=progress, resume=resume, loggers=loggers)
        except (DivergedError, ReportedError) as error:
            if isinstance(error, ReportedError) and not isinstance(error.cause, DivergedError):
                raise
            progress.message(f"diverged: {error}")
            results.append(SweepRun(learning_rate=rate, run=run, top1=None, loss=None))
            continue
        scores = result.evaluations["validation"]
        results.append(SweepRun(learning_rate=rate, run=run, top1=scores.top1, loss=scores.loss))
    return sorted(results, key=_sort_key)


def write_sweep(runs: Sequence[SweepRun], recipe: Recipe, directory: Path) -> None:
    """Write the results of a sweep, the best first, to `directory`/learning_rates.json and learning_rates.png.

    A diverged run has no scores in the JSON file and no point in the plot.
    """
    rows = [{**dataclasses.asdict(run), "run": run.run.name} for run in runs]
    best = rows[0]["run"] if runs[0].top1 is not None else None
    write_json(SweepLayout(directory).scores, {"recipe": recipe.name, "best": best, "trials": rows})
    points = [(run.learning_rate, run.top1) for run in runs if run.top1 is not None]
    if points:
        write_bytes(SweepLayout(directory).plot, learning_rates_plot(points))


def _sort_key(run: SweepRun) -> tuple[bool, float, float]:
    """Return the sort key: higher top-1 first, ties by lower loss, diverged runs last."""
    return run.top1 is None, -(run.top1 or 0.0), run.loss or 0.0


def _completed_runs(recipe: Recipe, data: ImageDataset, directory: Path) -> dict[Path, SweepRun]:
    """Return, by folder, the runs of a sweep, at any rate, that need no more training.

    A diverged run is trained again if the recipe now skips steps that are not finite.
    """
    stored = [stored_run(path) for path in SweepLayout(directory).runs()]
    completed = [
        run for run in stored if run and (run.is_finished or (run.is_diverged and recipe.on_nonfinite == "stop"))
    ]
    return {run.path: _completed_run(recipe, data, run) for run in completed}


def _completed_run(recipe: Recipe, data: ImageDataset, run: StoredRun) -> SweepRun:
    """Return the result of a completed run. Runs of another recipe or on other photos are refused."""
    rate = run.recipe.optimizer.learning_rate
    check_matches_run(run, with_learning_rate(recipe, rate), data)
    if run.is_diverged:
        return SweepRun(learning_rate=rate, run=run.path, top1=None, loss=None)
    path = RunLayout(run.path).metrics
    try:
        check_regular(path)
        scores = json.loads(path.read_text(encoding="utf-8"))["evaluations"]["validation"]
        return SweepRun(learning_rate=rate, run=run.path, top1=float(scores["top1"]), loss=float(scores["loss"]))
    except (OSError, ValueError, LookupError, TypeError, RecursionError) as error:
        raise ConfigError(
            f"{path}: cannot be read ({type(error).__name__}: {error}). Delete it to repeat the end of the run from its last "
            "snapshot."
        ) from error
