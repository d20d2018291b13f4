"""The rate of training steps, ours against timm's: the same Mixer, loss and optimizer, in alternated rounds."""

import importlib.util
import time
from collections.abc import Callable, Sequence
from typing import Any

from allmlp.bench.peers import timm_model
from allmlp.bench.rounds import alternated_rounds, ratios_of
from allmlp.errors import ConfigError
from allmlp.hardware.devices import reuse_freed_memory
from allmlp.io.display import quote
from allmlp.model import MixerConfig, num_multiply_adds
from allmlp.provenance import environment, spread

__all__ = ["measure_training"]

_LEARNING_RATE, _WEIGHT_DECAY = 1e-3, 0.1


def measure_training(
    config: MixerConfig,
    *,
    batch_size: int = 32,
    precisions: Sequence[str] = ("float32",),
    seconds: float = 60.0,
    num_rounds: int = 12,
    device: str = "cpu",
    with_peers: bool = True,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, Any]:
    """Return figures of training steps on random images, which are on the device, by precision and contestant.

    A step is forward, backward and AdamW. On a CPU, there are core-hours: those of torch's threads for a million images,
    without validation and input. On a GPU ("cuda"), there is the peak memory of each contestant: weights, optimizer, gradients
    and activations. timm is left out where it is not installed, and without `with_peers`.

    Raises:
        ConfigError: a Mixer without a classifier, or a precision other than float32 and bfloat16.
    """
    if others := set(precisions) - {"float32", "bfloat16"}:
        raise ConfigError(
            f"precision is {quote(min(others))}, but training steps are measured in float32 and bfloat16."
        )
    if not config.num_classes:
        raise ConfigError(
            "this Mixer has no classifier, which training needs: omit --training, or name another checkpoint."
        )
    import torch

    if device == "cpu":
        reuse_freed_memory()
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(batch_size, 3, *config.image_size, generator=generator).to(device)
    classes = torch.randint(0, config.num_classes, (batch_size,), generator=generator).to(device)
    gflop = 3 * 2e-9 * num_multiply_adds(config)  # backward costs twice forward
    results: list[dict[str, Any]] = []
    for precision in precisions:
        makers = {"allmlp": _our_step}
        if with_peers and importlib.util.find_spec("timm") is not None:
            makers["timm"] = _timm_step
        calls: dict[str, Callable[[], object]] = {}
        peaks: dict[str, float] = {}
        for name, make in makers.items():
            before = _start_memory_record(device)
            calls[name] = _call(make(config, precision, device), images, classes, device)
            calls[name]()
            calls[name]()  # the first step has no optimizer state yet
            if device == "cuda":
                peaks[name] = round((torch.cuda.max_memory_allocated() - before) / 2**20)
        times = alternated_rounds(calls, num_rounds=num_rounds, seconds=seconds / len(precisions), clock=clock)
        for name, values in times.items():
            figures = spread([1000 * value for value in values])
            per_image = figures["median"] / 1000 / batch_size
            results.append(
                {
                    "contestant": name,
                    "precision": precision,
                    "batch_size": batch_size,
                    "milliseconds": figures,
                    "images_per_second": float(f"{1 / per_image:.4g}"),
                    "gflops": float(f"{gflop / per_image:.4g}"),
                    **_cost(per_image, peaks.get(name), device),
                    "speed_ratio": {other: round(ratios_of(times, name, other), 3) for other in times if other != name},
                }
            )
    return {"environment": environment(device), "num_threads": torch.get_num_threads(), "training": results}


def _start_memory_record(device: str) -> int:
    """Forget the peak memory of a GPU so far, and return the bytes that are in use."""
    import torch

    if device != "cuda":
        return 0
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    return torch.cuda.memory_allocated()


def _cost(per_image: float, peak: float | None, device: str) -> dict[str, float]:
    import torch

    if device == "cpu":
        return {"core_hours_per_million_images": float(f"{1e6 * per_image * torch.get_num_threads() / 3600:.4g}")}
    return {} if peak is None else {"peak_mebibytes": peak}


def _call(step: Callable[[Any, Any], object], images: Any, classes: Any, device: str) -> Callable[[], object]:
    import torch

    def call() -> None:
        step(images, classes)
        if device == "cuda":  # the optimizer's kernels still run
            torch.cuda.synchronize()

    return call


def _our_step(config: MixerConfig, precision: str, device: str) -> Callable[[Any, Any], object]:
    import numpy as np
    import torch

    from allmlp.training import OptimizerConfig, ProcessGroup, Recipe, TrainingBatch, TrainState, update

    optimizer = OptimizerConfig(name="adamw", learning_rate=_LEARNING_RATE, weight_decay=_WEIGHT_DECAY, clip_norm=None)
    settings: Any = {"optimizer": optimizer, "precision": precision}
    recipe: Any = Recipe(name="bench", model=config, num_epochs=1, batch_size=1, **settings)
    ranks = ProcessGroup(rank=0, count=1, device=device)
    state = TrainState(recipe, ranks)

    def step(images: Any, classes: Any) -> object:
        labels = torch.nn.functional.one_hot(classes, config.num_classes).float()
        batch = TrainingBatch(images, labels, None, np.zeros(0, np.uint64))
        return update(state, state.model, batch, recipe, 1.0, ranks=ranks)

    return step


def _timm_step(config: MixerConfig, precision: str, device: str) -> Callable[[Any, Any], object]:
    import torch

    model = timm_model(config).to(device).train()
    groups = [
        {"params": [weight for weight in model.parameters() if weight.ndim >= 2], "weight_decay": _WEIGHT_DECAY},
        {"params": [weight for weight in model.parameters() if weight.ndim < 2], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, lr=_LEARNING_RATE, fused=True)

    def step(images: Any, classes: Any) -> object:
        with torch.autocast(device, torch.bfloat16, enabled=precision == "bfloat16"):
            logits = model(images)
        loss: Any = torch.nn.functional.cross_entropy(logits.float(), classes)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return float(loss.detach())

    return step
