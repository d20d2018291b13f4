"""The loop in which all networks of a study learn. It continues bit for bit after an interruption."""

import dataclasses
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from allmlp.errors import DivergedError
from allmlp.hardware.devices import reuse_freed_memory
from allmlp.io.display import Report
from allmlp.studies.learning.photos import LabelledPhotos, StudyPhotos
from allmlp.studies.learning.snapshot import Progress, load_finished, load_snapshot, save_finished, save_snapshot
from allmlp.training import Stopped, StopSignal

__all__ = ["Inputs", "Schedule", "fit", "fit_once", "hours_unit", "predicted", "scored_top1"]

Inputs = Callable[[Tensor], Tensor]
"""What a network sees: a function of normalised images (B, 3, H, W), after the augmentation, that keeps their shape."""


@dataclass(frozen=True)
class Schedule:
    """How a network learns: AdamW with linear warm-up and cosine decay to 0, the same for all arms of a study.

    Attributes:
        num_steps: of training.
        batch_size: photos per step.
        learning_rate: at its highest.
        weight_decay: multiplied by the learning rate; not of biases and norms.
        warmup: share of the steps.
        label_smoothing: of the loss.
        pad_pixels: photos are moved by up to so many pixels, and mirrored at random; None leaves them as they are.
        num_scores: how often the photos in `StudyPhotos.scored` are scored, at equal distances, the end included.
    """

    num_steps: int
    batch_size: int = 128
    learning_rate: float = 1e-3
    weight_decay: float = 0.05
    warmup: float = 0.05
    label_smoothing: float = 0.1
    pad_pixels: int | None = 4
    num_scores: int = 10

    def settings(self) -> dict[str, Any]:
        """Return the settings as JSON values."""
        return dataclasses.asdict(self)

    def factor(self, step: int) -> float:
        """Return the learning rate of a step as a share of the highest."""
        warmup = max(1, round(self.warmup * self.num_steps))
        if step < warmup:
            return (step + 1) / warmup
        return 0.5 * (1 + float(np.cos(np.pi * (step - warmup) / max(1, self.num_steps - warmup))))

    def score_steps(self) -> list[int]:
        """Return after how many steps the network is scored."""
        return sorted({round(self.num_steps * (index + 1) / self.num_scores) for index in range(self.num_scores)} - {0})


_SAVE_SECONDS = 60.0
_CLIP_NORM = 1.0


def fit(
    network: nn.Module,
    photos: StudyPhotos,
    schedule: Schedule,
    *,
    seed: int,
    folder: Path,
    report: Report,
    device: str = "cpu",
    inputs: Inputs | None = None,
) -> Mapping[str, Any]:
    """Train a network in place and return the figures of its training.

    On SIGINT or SIGTERM the current step is finished and saved in `folder`, and a later call with the same arguments
    continues from there, bit for bit as if it had never stopped (on the same machine).

    Returns:
        "curve": by number of photos seen, the top-1 on `photos.scored` and the mean training loss since the last score;
        "top1": at the end; "images_per_second" of training, "minutes" and "core_hours" of the process, without scoring, and the
        "device"; on a GPU, "core_hours" are its hours.

    Raises:
        Stopped: a signal, after the state was saved.
        DivergedError: a loss or a gradient is not finite; nothing of that step is kept.
        CheckpointError: the snapshot in `folder` is damaged.
    """
    if device == "cpu":
        reuse_freed_memory()
    network.to(device)
    optimizer = torch.optim.AdamW(_groups(network, schedule.weight_decay), lr=schedule.learning_rate)
    progress = load_snapshot(folder, network, optimizer) or Progress()
    order, score_steps = _Order(len(photos.train.labels), schedule.batch_size, seed), schedule.score_steps()
    last_save = time.monotonic()
    with StopSignal() as stop:
        stop.deferred = True
        while progress.step < schedule.num_steps:
            started, processor = time.perf_counter(), time.process_time()
            indices = order.batch(progress.step)
            draws = np.random.default_rng([seed, 1, progress.step])
            images = augmented(photos.train.images[indices], draws, schedule.pad_pixels).to(device)
            images = images if inputs is None else inputs(images)
            labels = torch.from_numpy(photos.train.labels[indices]).to(device)
            for group in optimizer.param_groups:
                group["lr"] = schedule.learning_rate * schedule.factor(progress.step)
            loss = cross_entropy(network.train()(images), labels, label_smoothing=schedule.label_smoothing)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            norm = nn.utils.clip_grad_norm_(network.parameters(), _CLIP_NORM)
            _check_finite(progress.step + 1, {"loss": loss.item(), "gradient norm": norm.item()})
            optimizer.step()
            progress.losses.append(loss.item())
            progress.step += 1
            progress.seconds += time.perf_counter() - started
            progress.processor_seconds += time.process_time() - processor
            if progress.step in score_steps:
                _score(network, photos, schedule, progress, device=device, inputs=inputs, report=report)
            is_late = time.monotonic() - last_save > _SAVE_SECONDS
            if stop.received or (is_late and progress.step < schedule.num_steps):
                save_snapshot(folder, network, optimizer, progress)
                last_save = time.monotonic()
                if stop.received:
                    raise Stopped(stop.received)
    return {
        "curve": progress.curve,
        "top1": progress.curve[-1]["top1"],
        "images_per_second": float(f"{schedule.num_steps * schedule.batch_size / progress.seconds:.4g}"),
        "minutes": round(progress.seconds / 60, 2),
        # On a GPU, the processor only waits.
        "core_hours": float(f"{(progress.processor_seconds if device == 'cpu' else progress.seconds) / 3600:.3g}"),
        "device": device,
    }


def hours_unit(figures: Mapping[str, Any]) -> str:
    """Return what the "core_hours" in the figures of `fit` are hours of: "core-hours", or "GPU-hours"."""
    return "core-hours" if figures.get("device", "cpu") == "cpu" else "GPU-hours"


def fit_once(
    network: nn.Module,
    photos: StudyPhotos,
    schedule: Schedule,
    *,
    seed: int,
    folder: Path,
    report: Report,
    device: str = "cpu",
) -> Mapping[str, Any]:
    """Train as `fit` does, and keep the weights and the figures in `folder`; a later call loads both and trains nothing.

    For an arm of several trainings: it continues with the first one that is not finished.

    Raises:
        Stopped, DivergedError: as `fit`.
        CheckpointError: a snapshot or the finished training in `folder` is damaged.
    """
    finished = load_finished(folder, network)
    if finished is not None:
        network.to(device)
        return finished
    folder.mkdir(parents=True, exist_ok=True)
    figures = fit(network, photos, schedule, seed=seed, folder=folder, report=report, device=device)
    save_finished(folder, network, figures)
    return figures


def _check_finite(step: int, quantities: Mapping[str, float]) -> None:
    for quantity, value in quantities.items():
        if not math.isfinite(value):
            raise DivergedError(
                f"training diverged: the {quantity} is {value} at step {step:,}. Its learning rate may be too high."
            )


def _score(
    network: nn.Module,
    photos: StudyPhotos,
    schedule: Schedule,
    progress: Progress,
    *,
    device: str,
    inputs: Inputs | None,
    report: Report,
) -> None:
    top1 = scored_top1(network, photos.scored, device=device, inputs=inputs)
    loss = float(f"{np.mean(progress.losses):.5g}")
    progress.losses.clear()
    progress.curve.append({"photos_seen": progress.step * schedule.batch_size, "top1": top1, "train_loss": loss})
    left = progress.seconds / progress.step * (schedule.num_steps - progress.step) / 60
    report(
        f"  step {progress.step:,} of {schedule.num_steps:,}: loss {loss:.3f}, top-1 {top1:.1%}, {left:.0f} min left"
    )


def scored_top1(
    network: nn.Module, photos: LabelledPhotos, *, device: str = "cpu", inputs: Inputs | None = None
) -> float:
    """Return the share of photos that a network classifies correctly."""
    return float((predicted(network, photos.images, device=device, inputs=inputs).argmax(1) == photos.labels).mean())


def predicted(
    network: Callable[[Tensor], Tensor], images: NDArray[np.uint8], *, device: str = "cpu", inputs: Inputs | None = None
) -> NDArray[np.float32]:
    """Return the outputs (N, K) of a network for images (N, H, W, 3) uint8, without augmentation."""
    if isinstance(network, nn.Module):
        network.eval()
    parts = []
    with torch.inference_mode():
        for start in range(0, len(images), 250):
            batch = augmented(images[start : start + 250], None, None).to(device)
            parts.append(network(batch if inputs is None else inputs(batch)).float().cpu().numpy())
    return np.concatenate(parts)


def augmented(images: NDArray[np.uint8], draws: np.random.Generator | None, pad_pixels: int | None) -> Tensor:
    """Return images (B, H, W, 3) uint8 as (B, 3, H, W) float32 in [-1, 1], moved and mirrored if `pad_pixels` is given."""
    if pad_pixels is not None:
        assert draws is not None
        num_images, height, width, _ = images.shape
        padded = np.pad(images, ((0, 0), (pad_pixels, pad_pixels), (pad_pixels, pad_pixels), (0, 0)), mode="reflect")
        corners: NDArray[np.int64] = draws.integers(0, 2 * pad_pixels + 1, (2, num_images, 1))
        rows: NDArray[np.int64] = corners[0] + np.arange(height)
        columns: NDArray[np.int64] = corners[1] + np.arange(width)
        is_mirrored = draws.random((num_images, 1)) < 0.5
        columns = np.where(is_mirrored, columns[:, ::-1], columns)
        images = padded[np.arange(num_images)[:, None, None], rows[:, :, None], columns[:, None, :]]
    return (
        torch.from_numpy(images).permute(0, 3, 1, 2).to(torch.float32, memory_format=torch.contiguous_format) / 127.5
        - 1.0
    )


class _Order:
    """The photos of each step: every epoch is a permutation, a function of seed and epoch."""

    def __init__(self, num_photos: int, batch_size: int, seed: int) -> None:
        self._num_photos, self._batch_size, self._seed = num_photos, batch_size, seed
        self._epochs: dict[int, NDArray[np.int64]] = {}

    def batch(self, step: int) -> NDArray[np.int64]:
        positions = np.arange(step * self._batch_size, (step + 1) * self._batch_size)
        epochs, places = np.divmod(positions, self._num_photos)
        self._epochs = {
            epoch: self._epochs.get(epoch, np.random.default_rng([self._seed, 0, epoch]).permutation(self._num_photos))
            for epoch in map(int, np.unique(epochs))
        }
        return np.array([self._epochs[int(epoch)][place] for epoch, place in zip(epochs, places, strict=True)])


def _groups(network: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Return the parameters in two groups: matrices and kernels decay, biases and norms do not."""
    parameters = [parameter for parameter in network.parameters() if parameter.requires_grad]
    return [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": weight_decay},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]
