"""One recipe at several learning rates: a run each, judged on the validation photos alone."""

import dataclasses
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from allmlp.data import ImageDataset
from allmlp.errors import ConfigError, DivergedError, ReportedError
from allmlp.io.atomic_write import write_bytes, write_json
from allmlp.report import learning_rates_plot
from allmlp.runs.layout import RunLayout, SweepLayout
from allmlp.training.loop import train
from allmlp.training.progress import Progress
from allmlp.training.recipe.recipe import Recipe
from allmlp.training.recipe.resolve import at_learning_rate
from allmlp.training.run_folder import refuse_used_folder
from allmlp.training.stored_run import StoredRun, check_ended, stored_run

__all__ = ["PAPER_GRID", "SweepRun", "check_grid_folder", "train_grid", "write_grid"]

PAPER_GRID = (0.003, 0.01, 0.03, 0.06)
"""Of fine-tuning on CIFAR, Pets and Flowers: MLP-Mixer, appendix A.2."""


@dataclass(frozen=True, kw_only=True)
class SweepRun:
    """A run of the grid.

    Attributes:
        learning_rate: the recipe's peak.
        run: its folder.
        top1, loss: of its best checkpoint on the validation photos; None where it diverged.
    """

    learning_rate: float
    run: Path
    top1: float | None
    loss: float | None


def check_grid_folder(path: Path, *, resume: bool) -> None:
    """Check that a sweep may be written to `path`, or that the sweep in it may be continued.

    Raises:
        ConfigError: a file, a single run, a grid that is not to be continued, or a folder that holds anything else.
    """
    if resume and RunLayout(path).recipe.exists():
        raise ConfigError(
            f"{path}: this is a single run, not a sweep. Omit --lr-grid to continue it, or start a sweep with --out."
        )
    if not SweepLayout(path).runs():
        refuse_used_folder(path)
    elif not resume:
        raise ConfigError(
            f"{path}: holds another sweep; nothing is ever overwritten. Choose another folder with --out, or continue it: "
            f"--resume {path}."
        )


def train_grid(
    recipe: Recipe,
    data: ImageDataset,
    directory: Path,
    learning_rates: Sequence[float],
    *,
    device: str,
    progress: Progress,
    resume: bool,
) -> list[SweepRun]:
    """Train once at each learning rate, in `directory`/lr-<rate>, and return the runs, best first, diverged ones last.

    The test photos are scored in each run and choose nothing. `resume` continues where an earlier call stopped; runs that it
    ended at other rates are returned, too.

    Raises:
        ConfigError: invalid rates, a length that the machine's speed decides, a used folder, or runs of another recipe.
        DataError: as `train`; or runs on other photos.
    """
    runs = [SweepLayout(directory).run(rate) for rate in learning_rates]
    if not runs or len(set(runs)) < len(runs):
        raise ConfigError(
            f"the learning rates are {', '.join(map(str, learning_rates))}; expected ones that differ in six digits."
        )
    if recipe.max_minutes is not None:
        raise ConfigError(
            f"max_minutes is {recipe.max_minutes:g}: runs whose length the machine's speed decides cannot be compared. "
            "Leave it out (--set max_minutes=none), and choose a length with --epochs."
        )
    recipes = [at_learning_rate(recipe, rate) for rate in learning_rates]  # an invalid rate is refused first
    ended = _ended_trials(recipe, data, directory) if resume else {}
    trials = list(ended.values())
    for number, (rate, one, run) in enumerate(zip(learning_rates, recipes, runs, strict=True), start=1):
        if run in ended:
            continue
        progress.message(f"\nlearning rate {rate:g}, {number} of {len(learning_rates)}: {run}")
        try:
            result = train(one, data, run, device=device, progress=progress, resume=resume)
        except (DivergedError, ReportedError) as error:
            if isinstance(error, ReportedError) and not isinstance(error.cause, DivergedError):
                raise
            progress.message(f"diverged: {error}")
            trials.append(SweepRun(learning_rate=rate, run=run, top1=None, loss=None))
            continue
        scores = result.evaluations["validation"]
        trials.append(SweepRun(learning_rate=rate, run=run, top1=scores.top1, loss=scores.loss))
    return sorted(trials, key=_rank)


def write_grid(trials: Sequence[SweepRun], recipe: Recipe, directory: Path) -> None:
    """Write what a grid came to, the best first: `directory`/learning_rates.json and learning_rates.png.

    A run that diverged has neither scores in the one nor a point in the other.
    """
    rows = [{**dataclasses.asdict(trial), "run": trial.run.name} for trial in trials]
    best = rows[0]["run"] if trials[0].top1 is not None else None
    write_json(SweepLayout(directory).scores, {"recipe": recipe.name, "best": best, "trials": rows})
    points = [(trial.learning_rate, trial.top1) for trial in trials if trial.top1 is not None]
    if points:
        write_bytes(SweepLayout(directory).plot, learning_rates_plot(points))


def _rank(trial: SweepRun) -> tuple[bool, float, float]:
    """Return what sorts trials: the higher top-1, of equals the lower loss, and diverged ones last."""
    return trial.top1 is None, -(trial.top1 or 0.0), trial.loss or 0.0


def _ended_trials(recipe: Recipe, data: ImageDataset, directory: Path) -> dict[Path, SweepRun]:
    """Return, by folder, the runs of a grid that need no training any more, at whatever rates.

    One that diverged is trained again by a recipe that now skips steps that are not finite.
    """
    stored = [stored_run(path) for path in SweepLayout(directory).runs()]
    ended = [run for run in stored if run and (run.is_finished or (run.is_diverged and recipe.on_nonfinite == "stop"))]
    return {run.path: _ended(recipe, data, run) for run in ended}


def _ended(recipe: Recipe, data: ImageDataset, run: StoredRun) -> SweepRun:
    """Return the trial that a run was. Another recipe's or other photos' scores are no trial of this grid."""
    rate = run.recipe.optimizer.learning_rate
    check_ended(run, at_learning_rate(recipe, rate), data)
    if run.is_diverged:
        return SweepRun(learning_rate=rate, run=run.path, top1=None, loss=None)
    path = RunLayout(run.path).metrics
    try:
        scores = json.loads(path.read_text(encoding="utf-8"))["evaluations"]["validation"]
        return SweepRun(learning_rate=rate, run=run.path, top1=float(scores["top1"]), loss=float(scores["loss"]))
    except (OSError, ValueError, LookupError, TypeError, RecursionError) as error:
        raise ConfigError(
            f"{path}: cannot be read ({type(error).__name__}: {error}). Delete it, and the run's end is made again from its "
            "last save."
        ) from error
