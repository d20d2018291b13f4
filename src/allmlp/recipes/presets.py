"""The qualities of fine-tuning: their settings, and what each of them costs on this machine."""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Literal

from allmlp.checkpoints import CATALOG, STARTER, is_cached, load_checkpoint
from allmlp.config import all_settings, key_of
from allmlp.data import ImageDataset
from allmlp.errors import ConfigError, did_you_mean
from allmlp.io.display import quote
from allmlp.model import num_parameters
from allmlp.recipes.choose import finetune_for
from allmlp.training import Recipe, estimate_minutes, with_settings

__all__ = ["BETTER_QUALITY", "QUALITIES", "Quality", "cost_of_better", "cost_of_quality", "quality_settings"]

Quality = Literal["fast", "balanced", "best"]
"""What a run starts from and how much of it is trained: the better, the slower."""

BETTER_QUALITY: Quality = "balanced"
"""What is recommended after a run from the weights that come with allmlp."""

_PUBLISHED = "b16-i21k"

# The recipe's batches of 100 images of Mixer-B/16 would need more memory to train than a laptop has.
QUALITIES: dict[Quality, dict[str, object]] = {
    "fast": {"transfer.checkpoint": STARTER},
    "balanced": {"transfer.checkpoint": _PUBLISHED, "transfer.trained_blocks": 0},
    "best": {"transfer.checkpoint": _PUBLISHED, "accumulation": 5},
}


def quality_settings(quality: Quality, *, instead_of: Mapping[str, object], keys: Sequence[str]) -> dict[str, object]:
    """Return the settings of a quality.

    Args:
        quality: a key of `QUALITIES`.
        instead_of: the options that a quality stands for, by the names under which the user may give them; None if not given.
        keys: the other settings that the user gives, as keys or assignments.

    Raises:
        ConfigError: an unknown quality, or one next to an option that it stands for.
    """
    if quality not in QUALITIES:
        raise ConfigError(
            f"unknown quality {quote(quality)}.{did_you_mean(str(quality), QUALITIES)} Expected one of {', '.join(QUALITIES)}."
        )
    for name, value in instead_of.items():
        if value is not None:
            raise ConfigError(
                f"quality {quality} and {name} {value}: a quality decides what a run starts from and how much of it is "
                "trained. Omit one of the two."
            )
    settings = QUALITIES[quality]
    if {"batch_size", "accumulation"} & set(map(key_of, keys)):
        settings = {key: value for key, value in settings.items() if key != "accumulation"}
    return settings


def cost_of_quality(quality: Quality, recipe: Recipe, dataset: ImageDataset, *, device: str, num_runs: int = 1) -> str:
    """Return what `num_runs` runs of `recipe`, which has the settings of a quality, cost: "306 MB to download, about ..."."""
    published = CATALOG.get(str(QUALITIES[quality]["transfer.checkpoint"]))
    config = load_checkpoint(STARTER).config if published is None else published.config
    size = 0 if published is None or is_cached(published) else 4 * num_parameters(config)
    image_size = recipe.transfer.image_size or config.image_size
    model = dataclasses.replace(config, image_size=image_size, num_classes=len(dataset.class_names))
    minutes = num_runs * estimate_minutes(recipe, model, dataset, device=device)
    return f"{size / 1e6:.0f} MB to download, about {_words(minutes)} here"


def cost_of_better(dataset: ImageDataset, *, device: str) -> str:
    """Return what fine-tuning on `dataset` with `BETTER_QUALITY` costs."""
    settings = all_settings({}, QUALITIES[BETTER_QUALITY])
    recipe = with_settings(finetune_for(dataset)[0], [*settings, "data.folds=0"])
    return cost_of_quality(BETTER_QUALITY, recipe, dataset, device=device)


def _words(minutes: float) -> str:
    """Return 0.4 as "1 minute", 12.2 as "13 minutes", 260 as "4.3 hours"."""
    if minutes <= 1.0:
        return "1 minute"
    return f"{math.ceil(minutes)} minutes" if minutes < 120 else f"{minutes / 60:.1f} hours"
