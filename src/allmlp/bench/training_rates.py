"""The rate of training steps, ours against timm's: the same Mixer, loss and optimizer, in alternated rounds."""

import importlib.util
import time
from collections.abc import Callable, Sequence
from typing import Any

from allmlp.bench.peers import timm_model
from allmlp.bench.rounds import alternated_rounds, ratios_of
from allmlp.errors import ConfigError
from allmlp.hardware.devices import reuse_freed_memory
from allmlp.model import MixerConfig, cost
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
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, Any]:
    """Return figures of training steps on random images on the CPU, by precision and contestant.

    A step is forward, backward and AdamW. Core-hours are those of torch's threads for a million images, without validation and
    without input. timm is left out where it is not installed.

    Raises:
        ConfigError: a Mixer without a classifier.
    """
    if not config.num_classes:
        raise ConfigError(
            "this Mixer has no classifier, which training needs: omit --training, or name another checkpoint."
        )
    import torch

    reuse_freed_memory()
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(batch_size, 3, *config.image_size, generator=generator)
    classes = torch.randint(0, config.num_classes, (batch_size,), generator=generator)
    gflop = 3 * 2e-9 * sum(part.multiply_adds for part in cost(config))  # backward costs twice forward
    results: list[dict[str, Any]] = []
    for precision in precisions:
        steps = {"allmlp": _our_step(config, precision)}
        if importlib.util.find_spec("timm") is not None:
            steps["timm"] = _timm_step(config, precision)
        calls = {name: _call(step, images, classes) for name, step in steps.items()}
        for call in calls.values():
            call()
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
                    "core_hours_per_million_images": float(f"{1e6 * per_image * torch.get_num_threads() / 3600:.4g}"),
                    "speed_ratio": {other: round(ratios_of(times, name, other), 3) for other in times if other != name},
                }
            )
    return {"environment": environment(), "num_threads": torch.get_num_threads(), "training": results}


def _call(step: Callable[[Any, Any], object], images: Any, classes: Any) -> Callable[[], object]:
    return lambda: step(images, classes)


def _our_step(config: MixerConfig, precision: str) -> Callable[[Any, Any], object]:
    import numpy as np
    import torch

    from allmlp.training import OptimizerConfig, Recipe, TrainingBatch, TrainState, update

    optimizer = OptimizerConfig(name="adamw", learning_rate=_LEARNING_RATE, weight_decay=_WEIGHT_DECAY, clip_norm=None)
    settings: Any = {"optimizer": optimizer, "precision": precision}
    recipe: Any = Recipe(name="bench", model=config, num_epochs=1, batch_size=1, **settings)
    state = TrainState(recipe)

    def step(images: Any, classes: Any) -> object:
        labels = torch.nn.functional.one_hot(classes, config.num_classes).float()
        batch = TrainingBatch(images, labels, None, np.zeros(0, np.uint64))
        return update(state, state.model, batch, recipe, 1.0)

    return step


def _timm_step(config: MixerConfig, precision: str) -> Callable[[Any, Any], object]:
    import torch

    model = timm_model(config).train()
    groups = [
        {"params": [weight for weight in model.parameters() if weight.ndim >= 2], "weight_decay": _WEIGHT_DECAY},
        {"params": [weight for weight in model.parameters() if weight.ndim < 2], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, lr=_LEARNING_RATE, fused=True)

    def step(images: Any, classes: Any) -> object:
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bfloat16"):
            logits = model(images)
        loss: Any = torch.nn.functional.cross_entropy(logits.float(), classes)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return float(loss.detach())

    return step
