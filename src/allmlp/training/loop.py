"""Training: from a recipe and photos to a run folder. The loop is `_loop`, to be read from top to bottom."""

import dataclasses
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from allmlp.checkpoints import Checkpoint, load_checkpoint, save_checkpoint
from allmlp.config import from_dict, to_dict
from allmlp.data import ImageDataset, evaluation_batches, hold_out, open_dataset
from allmlp.errors import ConfigError, DataError
from allmlp.evaluation import Metrics, evaluate
from allmlp.hardware import choose_device, has_bfloat16, reuse_freed_memory
from allmlp.inference import eager_forward
from allmlp.model import MixerConfig, num_parameters
from allmlp.provenance import environment
from allmlp.training.feed import Feed, TrainingBatch
from allmlp.training.loss import classification_loss
from allmlp.training.progress import Logged, Progress, Silence
from allmlp.training.recipe import Recipe
from allmlp.training.run import RunDirectory, refuse_used_folder
from allmlp.training.run_report import write_run_report
from allmlp.training.schedule import learning_rate_factor
from allmlp.training.state import TrainState

__all__ = ["TrainResult", "train"]


@dataclass(frozen=True, kw_only=True)
class TrainResult:
    """What a finished run is.

    Attributes:
        directory: the run folder.
        recipe: as resolved: classes, precision and epochs filled in.
        dataset: with its validation split.
        evaluations: of the best checkpoint, float32, by split: "validation", and "test" where there is one.
        best_epoch: the epoch of the best checkpoint: highest top-1 on validation, of equals the lowest loss.
        seconds: from the first step to the last, evaluations included.
    """

    directory: Path
    recipe: Recipe
    dataset: ImageDataset
    evaluations: dict[str, Metrics]
    best_epoch: int
    seconds: float


def train(
    recipe: Recipe,
    data: str | Path | ImageDataset,
    run_directory: str | Path,
    *,
    device: str = "auto",
    progress: Progress | None = None,
) -> TrainResult:
    """Train a Mixer on photos and write the run folder, its report included.

    Args:
        recipe: what to do.
        data: photos in any form that `open_dataset` takes. The test split chooses nothing; it is scored once at the end.
        run_directory: a folder that does not exist yet or is empty.
        device: "auto", "cpu", "cuda" or "mps".
        progress: hears what happens; None is silence.

    Raises:
        ConfigError: a used folder, or one among the photos; an impossible value; a device that is not there.
        DataError: photos that cannot be used, all of them named, before anything is written.
        KeyboardInterrupt: after the last checkpoint was saved.
    """
    progress = Logged(progress or Silence())
    recipe = from_dict(Recipe, to_dict(recipe), where=f"recipe {recipe.name!r}")  # one written in Python is unchecked
    device = choose_device(device)
    reuse_freed_memory()
    refuse_used_folder(Path(run_directory))
    dataset = data if isinstance(data, ImageDataset) else open_dataset(data)
    _refuse_run_among_photos(Path(run_directory), Path(dataset.source))
    dataset = hold_out(dataset, fraction=recipe.data.holdout, seed=recipe.seed)
    if "train" not in dataset.splits:
        raise DataError(f"{dataset.source}: there is no train split; found {', '.join(dataset.splits)}.")
    recipe = resolved(recipe, dataset, device)
    _announce(recipe, dataset, progress)
    feed = Feed(recipe, dataset, device=device, progress=progress)
    state = TrainState(recipe, device)
    if recipe.max_minutes is not None:
        recipe = dataclasses.replace(recipe, num_epochs=_affordable_epochs(recipe, feed, device, progress))
    run = RunDirectory(Path(run_directory))
    facts = environment(device)
    run.describe(recipe, dataset, facts)
    progress.write_to(run.log)
    best_epoch, seconds = _loop(recipe, state, feed, run, progress)
    return _finish(recipe, dataset, run, feed, facts, best_epoch, seconds, device, progress)


def _loop(recipe: Recipe, state: TrainState, feed: Feed, run: RunDirectory, progress: Progress) -> tuple[int, float]:
    """Train from `state.step` to the end; return the best epoch and the seconds it took."""
    num_steps = feed.order.num_steps(recipe.num_epochs)
    model = torch.compile(state.model) if recipe.compile else state.model
    best, best_epoch = (-1.0, 0.0), 0
    losses: list[float] = []
    started = epoch_started = time.perf_counter()
    images_in_epoch = 0
    progress.start(num_steps)
    try:
        for batch in feed.batches(first_step=state.step, num_steps=num_steps):
            factor = learning_rate_factor(recipe.schedule, step=state.step, num_steps=num_steps)
            loss = update(state, model, batch, recipe, factor)
            losses.append(loss)

            now = time.perf_counter()
            images_in_epoch += recipe.batch_size
            speed = images_in_epoch / (now - epoch_started)
            left = (now - started) / state.step * (num_steps - state.step)
            progress.step(state.step, loss=loss, images_per_second=speed, seconds_left=left)

            epoch = feed.order.epochs_done(state.step)
            ended = state.step == num_steps
            if not ended and epoch == feed.order.epochs_done(state.step - 1):
                continue
            epoch = recipe.num_epochs if ended else epoch
            metrics = feed.validate(state)
            row = {
                "epoch": epoch,
                "step": state.step,
                "seconds": time.perf_counter() - started,
                "learning_rate": recipe.optimizer.learning_rate * factor,
                "train_loss": float(np.mean(losses)),
                "validation_loss": metrics.loss if metrics else math.nan,
                "validation_top1": metrics.top1 if metrics else math.nan,
                "validation_top5": metrics.top5 if metrics else math.nan,
                "images_per_second": speed,
            }
            run.add_result(row)
            progress.epoch(row)
            score = (metrics.top1, -metrics.loss) if metrics else (float(epoch), 0.0)
            if score > best:
                best, best_epoch = score, epoch
                _save(state, recipe, feed, run, "best")
            _save(state, recipe, feed, run, "last")
            losses, images_in_epoch, epoch_started = [], 0, time.perf_counter()
    finally:
        # Also when the run is interrupted: what was learned so far is kept.
        try:
            if state.step:
                _save(state, recipe, feed, run, "last")
                if not best_epoch:
                    _save(state, recipe, feed, run, "best")
        finally:
            progress.finish()
    return best_epoch, time.perf_counter() - started


def update(
    state: TrainState, model: Callable[..., Tensor], batch: TrainingBatch, recipe: Recipe, factor: float
) -> float:
    """Take one step at `factor` times the peak learning rate and return the batch's loss.

    Raises:
        ConfigError: the loss or the gradient is not finite; the weights have not been touched.
    """
    # Dropout draws from torch's generator: seeding it anew makes it, too, a function of (seed, step).
    torch.manual_seed(recipe.seed * 1_000_003 + state.step)
    with torch.autocast(batch.images.device.type, torch.bfloat16, enabled=recipe.precision == "bfloat16"):
        logits = model(batch.images, depth_draws=batch.depth_draws)
    loss = classification_loss(logits, batch.labels, recipe.loss)
    value = float(loss.detach())
    if not math.isfinite(value):
        raise _diverged("loss", value, state.step, recipe)
    state.optimizer.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    norm = state.optimizer.step(factor)
    if not math.isfinite(norm):
        raise _diverged("gradient's norm", norm, state.step, recipe)
    state.advance()
    return value


def _diverged(what: str, value: float, step: int, recipe: Recipe) -> ConfigError:
    return ConfigError(
        f"The {what} became {value} at step {step + 1}; the weights before it are kept. "
        f"Lower the learning rate (--set optimizer.learning_rate={recipe.optimizer.learning_rate / 3:.1g}) "
        "or clip gradients (--set optimizer.clip_norm=1.0)."
    )


def resolved(recipe: Recipe, dataset: ImageDataset, device: str) -> Recipe:
    """Return the recipe with the number of classes and the precision filled in.

    Raises:
        ConfigError: the recipe asks for another number of classes than the data has.
    """
    num_classes = len(dataset.class_names)
    if recipe.model.num_classes not in (MixerConfig.num_classes, num_classes):  # its default, or the same
        raise ConfigError(
            f"model.num_classes is {recipe.model.num_classes}, but {dataset.source} has {num_classes} classes. "
            "Leave it out: the data decides."
        )
    precision = recipe.precision
    if precision == "auto":
        precision = "bfloat16" if has_bfloat16(device) else "float32"
    model = dataclasses.replace(recipe.model, num_classes=num_classes)
    return dataclasses.replace(recipe, model=model, precision=precision)


def _refuse_run_among_photos(run: Path, photos: Path) -> None:
    if photos.is_dir() and run.resolve().is_relative_to(photos.resolve()):
        raise ConfigError(
            f"{run} lies inside the photos ({photos}): its pictures would become a class of theirs. "
            "Choose a folder outside with --out."
        )


def _announce(recipe: Recipe, dataset: ImageDataset, progress: Progress) -> None:
    model = recipe.model
    counts = ", ".join(f"{name} {len(split):,}" for name, split in dataset.splits.items())
    progress.message(f"data    {dataset.source}: {len(dataset.class_names)} classes; {counts} photos")
    for note in dataset.notes:
        progress.message(f"        {note}")
    progress.message(
        f"model   Mixer, {model.image_size[0]} × {model.image_size[1]} px, patch {model.patch_size}, "
        f"{model.num_blocks} blocks, {num_parameters(model) / 1e6:.2f} M parameters"
    )
    progress.message(
        f"recipe  {recipe.name}: {recipe.num_epochs} epochs, batches of {recipe.batch_size}, {recipe.precision}"
    )


def _affordable_epochs(recipe: Recipe, feed: Feed, device: str, progress: Progress) -> int:
    """Return how many epochs `max_minutes` allows, measured on a throwaway state; at least 1, at most the recipe's."""
    assert recipe.max_minutes is not None
    state = TrainState(recipe, device)
    model = torch.compile(state.model) if recipe.compile else state.model
    times = [time.perf_counter()]
    for batch in feed.batches(first_step=0, num_steps=20):
        update(state, model, batch, recipe, 0.0)
        times.append(time.perf_counter())  # feeding counts too
    start = time.perf_counter()
    feed.validate(state)
    steps_in_epoch = len(feed.order.keys) / recipe.batch_size
    # The lower quartile: what else the machine does just now must not halve the training. For what it does later, 15 % of
    # the time are kept in reserve.
    step_seconds = float(np.quantile(np.diff(times)[2:], 0.25))
    epoch_seconds = step_seconds * steps_in_epoch + time.perf_counter() - start
    num_epochs = max(1, min(recipe.num_epochs, int(0.85 * 60 * recipe.max_minutes / epoch_seconds)))
    progress.message(
        f"time    about {epoch_seconds:.1f} s an epoch: {num_epochs} of {recipe.num_epochs} epochs "
        f"fit into {recipe.max_minutes:g} minutes"
    )
    return num_epochs


def _save(state: TrainState, recipe: Recipe, feed: Feed, run: RunDirectory, name: str) -> None:
    with state.averaged() as model:
        weights: dict[str, Tensor] = {key: value.detach().cpu().clone() for key, value in model.state_dict().items()}
    checkpoint = Checkpoint(
        config=recipe.model,
        weights=weights,
        preprocessing=feed.preprocessing,
        class_names=feed.class_names,
        source=f"trained by allmlp, recipe {recipe.name}, seed {recipe.seed}, step {state.step}",
    )
    save_checkpoint(checkpoint, run.path / "checkpoints" / name)


def _finish(
    recipe: Recipe,
    dataset: ImageDataset,
    run: RunDirectory,
    feed: Feed,
    facts: dict[str, str],
    best_epoch: int,
    seconds: float,
    device: str,
    progress: Progress,
) -> TrainResult:
    """Score the best checkpoint in float32, write metrics.json and the report."""
    forward = eager_forward(load_checkpoint(run.path / "checkpoints" / "best"), device=device)
    evaluations = {}
    for name in _scored_splits(dataset):
        batches = evaluation_batches(
            feed.fitted(name),
            dataset.splits[name].labels,
            feed.preprocessing,
            num_classes=recipe.model.num_classes,
        )
        evaluations[name] = evaluate(forward, batches, dataset.class_names)
    num_steps = feed.order.num_steps(recipe.num_epochs)
    figures = {
        "best_epoch": best_epoch,
        "num_epochs": recipe.num_epochs,
        "num_steps": num_steps,
        "seconds": round(seconds, 1),
        "images_per_second": round(num_steps * recipe.batch_size / seconds, 1),
    }
    run.write_metrics(evaluations, facts=figures)
    write_run_report(run, recipe, dataset, evaluations, feed, facts, best_epoch=best_epoch)
    for name, metrics in evaluations.items():
        progress.message(
            f"{name:<10}  top-1 {metrics.top1:.1%}   top-5 {metrics.top5:.1%}   balanced {metrics.balanced_accuracy:.1%}   "
            f"loss {metrics.loss:.3f}   ({metrics.num_examples:,} photos, checkpoint of epoch {best_epoch})"
        )
    return TrainResult(
        directory=run.path,
        recipe=recipe,
        dataset=dataset,
        evaluations=evaluations,
        best_epoch=best_epoch,
        seconds=seconds,
    )


def _scored_splits(dataset: ImageDataset) -> Sequence[str]:
    return [name for name in ("validation", "test") if name in dataset.splits]
