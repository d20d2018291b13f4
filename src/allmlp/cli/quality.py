"""The qualities of `finetune --quality`: their settings, and what each of them costs on this machine."""

import dataclasses
import enum
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from allmlp.cli.console import command_line
from allmlp.config import key_of
from allmlp.errors import ConfigError

if TYPE_CHECKING:
    from allmlp.data import ImageDataset
    from allmlp.training import Recipe

__all__ = ["Quality", "QualityOption", "better_quality", "cost_of_quality", "quality_settings"]

_PUBLISHED = "b16-i21k"


class Quality(enum.StrEnum):
    """What a run starts from and how much of it is trained: the better, the slower."""

    FAST = "fast"
    BALANCED = "balanced"
    BEST = "best"


QualityOption = Annotated[
    Quality | None,
    typer.Option(
        help=f"fast: the weights that come with allmlp. balanced: a classifier on the features of {_PUBLISHED}, a download of "
        f"some 300 MB. best: all of {_PUBLISHED}, which takes hours without a GPU. Instead of --from.",
        show_default=False,
    ),
]

# The recipe's batches of 100 images of Mixer-B/16 would need more memory to train than a laptop has.
_SETTINGS: dict[Quality, dict[str, object]] = {
    Quality.FAST: {"transfer.checkpoint": "starter"},
    Quality.BALANCED: {"transfer.checkpoint": _PUBLISHED, "transfer.trained_blocks": 0},
    Quality.BEST: {"transfer.checkpoint": _PUBLISHED, "accumulation": 5},
}


def quality_settings(
    quality: Quality | None, *, checkpoint: str | None, trained_blocks: int | None, keys: Sequence[str]
) -> dict[str, object]:
    """Return the settings of a quality, given the options --from and --trained-blocks and the other `keys` that are set.

    Raises:
        ConfigError: a quality next to an option that it stands for.
    """
    if quality is None:
        return {"transfer.checkpoint": checkpoint, "transfer.trained_blocks": trained_blocks}
    for option, value in (("--from", checkpoint), ("--trained-blocks", trained_blocks)):
        if value is not None:
            raise ConfigError(
                f"--quality {quality} and {option} {value}: a quality decides what a run starts from and how much of it is "
                "trained. Omit one of the two."
            )
    settings = _SETTINGS[quality]
    if {"batch_size", "accumulation"} & set(map(key_of, keys)):
        settings = {key: value for key, value in settings.items() if key != "accumulation"}
    return settings


def cost_of_quality(
    quality: Quality, recipe: "Recipe", dataset: "ImageDataset", *, device: str, num_runs: int = 1
) -> str:
    """Return what `num_runs` runs of `recipe`, which has the settings of a quality, cost: "306 MB to download, about ..."."""
    from allmlp.checkpoints import CATALOG, STARTER, is_cached, load_checkpoint
    from allmlp.model import num_parameters
    from allmlp.training import estimate_minutes

    published = CATALOG.get(str(_SETTINGS[quality]["transfer.checkpoint"]))
    config = load_checkpoint(STARTER).config if published is None else published.config
    size = 0 if published is None or is_cached(published) else 4 * num_parameters(config)
    image_size = recipe.transfer.image_size or config.image_size
    model = dataclasses.replace(config, image_size=image_size, num_classes=len(dataset.class_names))
    minutes = num_runs * estimate_minutes(recipe, model, dataset, device=device)
    return f"{size / 1e6:.0f} MB to download, about {_words(minutes)} here"


def better_quality(dataset: "ImageDataset", data: str, words: Sequence[str], *, device: str) -> str:
    """Return a line that names the quality after `fast` for the photos of a run, and its cost.

    `data` and `words` are the photos and options as in the command of the run.
    """
    from allmlp.recipes import finetune_for
    from allmlp.training import with_settings

    quality = Quality.BALANCED
    settings = [f"{key}={value}" for key, value in _SETTINGS[quality].items()]
    recipe = with_settings(finetune_for(dataset)[0], [*settings, "data.folds=0"])
    cost = cost_of_quality(quality, recipe, dataset, device=device)
    return f"for better: {command_line('finetune', data, *words, '--quality', quality.value)}: {cost}"


def _words(minutes: float) -> str:
    """Return 0.4 as "1 minute", 12.2 as "13 minutes", 260 as "4.3 hours"."""
    if minutes <= 1.0:
        return "1 minute"
    return f"{math.ceil(minutes)} minutes" if minutes < 120 else f"{minutes / 60:.1f} hours"
