"""Whether a stopped and resumed run gives the same bits as one that was never stopped, on the device.

Two runs that were never stopped are compared first: if they differ, the device does not repeat its own results.
"""

import dataclasses
import tempfile
from pathlib import Path

from gpu_parts.photos import write_photos
from gpu_parts.settings import Settings

_NUM_STEPS = 8
_STOP_AT = 3


class _StopAt:
    """Raises KeyboardInterrupt after a step, as Ctrl-C does."""

    def __init__(self, step):
        self._step = step

    def message(self, text): ...

    def start(self, total_steps): ...

    def step(self, step, **_):
        if step == self._step:
            raise KeyboardInterrupt

    def epoch(self, row): ...

    def finish(self): ...


def measure(settings: Settings, save):
    """Save the number of tensors of the final training state and which of them differ."""
    from allmlp.training import train

    figures = {"num_steps": _NUM_STEPS, "stopped_at": _STOP_AT}
    recipe = _recipe(settings)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        size = (40, 30) if settings.is_quick else (320, 240)
        photos = write_photos(folder / "photos", num_photos=48 if settings.is_quick else 192, size=size)
        for run in ("whole", "again"):
            train(recipe, photos, folder / run, device=settings.device)
        figures["two_whole_runs"] = _compared(folder / "again", folder / "whole")
        save(figures)
        try:
            train(recipe, photos, folder / "stopped", device=settings.device, progress=_StopAt(_STOP_AT))
            raise RuntimeError("the run did not stop")
        except KeyboardInterrupt:
            pass
        result = train(recipe, photos, folder / "stopped", device=settings.device, resume=True)
        figures["precision"] = result.recipe.precision
        figures["resumed_and_whole"] = _compared(folder / "stopped", folder / "whole")
        save(figures)


def _recipe(settings):
    """Return a recipe in which everything that draws from chance is on."""
    from allmlp.data import Augmentation
    from allmlp.training import OptimizerConfig, Recipe
    from gpu_parts.settings import has_timm

    model = dataclasses.replace(settings.config("S/16").as_template(), stochastic_depth=0.1, dropout=0.1)
    augmentation = Augmentation(
        crop="inception",
        flip=True,
        color_jitter=0.3,
        mixup=0.5,
        cutmix=1.0,
        random_erasing=0.25,
        rand_augment_layers=2 if has_timm() else 0,
    )
    return Recipe(
        name="resume",
        model=model,
        num_epochs=0,
        num_steps=_NUM_STEPS,
        batch_size=16 if settings.is_quick else 64,
        augmentation=augmentation,
        optimizer=OptimizerConfig(name="muon", learning_rate=0.02, adamw_learning_rate=0.002),
        ema_decay=0.9,
    )


def _compared(run, other):
    import numpy as np
    from safetensors.numpy import load_file

    mine, theirs = (load_file(max((path / "resume").glob("step-*")) / "state.safetensors") for path in (run, other))
    if mine.keys() != theirs.keys():
        raise RuntimeError(f"the states have other tensors: {sorted(mine.keys() ^ theirs.keys())[:5]}")
    differing = [name for name in mine if mine[name].tobytes() != theirs[name].tobytes()]
    largest = max((float(np.abs(mine[name] - theirs[name]).max()) for name in differing), default=0.0)
    return {
        "num_tensors": len(mine),
        "num_differing": len(differing),
        "differing": differing[:5],
        "largest_difference": float(f"{largest:.3g}"),
        "same_bits": not differing,
    }
