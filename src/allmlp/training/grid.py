"""One recipe at several learning rates: a run each, judged on the validation photos alone."""

import dataclasses
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from allmlp.data import ImageDataset, hold_out
from allmlp.errors import ConfigError
from allmlp.files import write_bytes, write_json
from allmlp.report import learning_rates_plot
from allmlp.training.loop import train
from allmlp.training.progress import Progress
from allmlp.training.recipe import Recipe
from allmlp.training.resume import StoredRun, check_same_photos, recipe_to_continue, stored_run

__all__ = ["PAPER_GRID", "Trial", "at_learning_rate", "train_grid", "write_grid"]

PAPER_GRID = (0.003, 0.01, 0.03, 0.06)
"""Of fine-tuning on CIFAR, Pets and Flowers: MLP-Mixer, appendix A.2."""


@dataclass(frozen=True, kw_only=True)
class Trial:
    """A run of the grid.

    Attributes:
        learning_rate: the recipe's peak.
        run: its folder.
        top1, loss: of its best checkpoint on the validation photos.
    """

    learning_rate: float
    run: Path
    top1: float
    loss: float


def train_grid(
    recipe: Recipe,
    data: ImageDataset,
    directory: Path,
    learning_rates: Sequence[float],
    *,
    device: str,
    progress: Progress,
    resume: bool,
) -> list[Trial]:
    """Train once at each learning rate, in `directory`/lr-<rate>, and return the runs, best first.

    The test photos are scored in each run and choose nothing. `resume` goes on where an earlier call stopped.

    Raises:
        ConfigError: rates that cannot be, a used folder, or runs of another recipe.
        DataError: as `train`; or runs on other photos.
    """
    runs = [directory / f"lr-{rate:g}" for rate in learning_rates]
    if not runs or len(set(runs)) < len(runs):
        raise ConfigError(
            f"the learning rates are {', '.join(map(str, learning_rates))}; expected ones that differ in six digits."
        )
    recipes = [at_learning_rate(recipe, rate) for rate in learning_rates]  # a rate that cannot be is refused first
    stored = [stored_run(run) if resume else None for run in runs]
    for before, one in zip(stored, recipes, strict=True):
        if before is not None and before.is_finished:  # `train` asks the others
            _check_same_run(one, data, before)
    trials = []
    asked = zip(learning_rates, recipes, runs, stored, strict=True)
    for number, (rate, one, run, before) in enumerate(asked, start=1):
        if before is not None and before.is_finished:
            trials.append(_finished(rate, run))
            continue
        progress.message(f"\nlearning rate {rate:g}, {number} of {len(learning_rates)}: {run}")
        result = train(one, data, run, device=device, progress=progress, resume=resume)
        scores = result.evaluations["validation"]
        trials.append(Trial(learning_rate=rate, run=run, top1=scores.top1, loss=scores.loss))
    return sorted(trials, key=lambda trial: (-trial.top1, trial.loss))


def write_grid(trials: Sequence[Trial], recipe: Recipe, directory: Path) -> None:
    """Write what a grid came to, the best first: `directory`/learning_rates.json and learning_rates.png."""
    rows = [{**dataclasses.asdict(trial), "run": trial.run.name} for trial in trials]
    write_json(directory / "learning_rates.json", {"recipe": recipe.name, "best": rows[0]["run"], "trials": rows})
    points = [(trial.learning_rate, trial.top1) for trial in trials]
    write_bytes(directory / "learning_rates.png", learning_rates_plot(points))


def at_learning_rate(recipe: Recipe, learning_rate: float) -> Recipe:
    """Return a recipe at another peak learning rate; that of AdamW's part under Muon goes along in proportion."""
    optimizer = recipe.optimizer
    second = optimizer.adamw_learning_rate
    if second is not None:
        second *= learning_rate / optimizer.learning_rate
    changed = dataclasses.replace(optimizer, learning_rate=learning_rate, adamw_learning_rate=second)
    return dataclasses.replace(recipe, optimizer=changed)


def _check_same_run(recipe: Recipe, data: ImageDataset, run: StoredRun) -> None:
    """Compare a run that is finished with what is asked for: another recipe's or other photos' scores are no trial of it."""
    recipe_to_continue(recipe, run)
    check_same_photos(hold_out(data, fraction=run.recipe.data.holdout, seed=run.recipe.seed), run)


def _finished(learning_rate: float, run: Path) -> Trial:
    scores = json.loads((run / "metrics.json").read_text(encoding="utf-8"))["evaluations"]["validation"]
    return Trial(learning_rate=learning_rate, run=run, top1=scores["top1"], loss=scores["loss"])
