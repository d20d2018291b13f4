"""Tables 2 and 3 of the paper, and the paper's own pre-trainings with the recipes that repeat them."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from allmlp.errors import ConfigError
from allmlp.model import VARIANTS, MixerTemplate
from allmlp.recipes import load_recipe
from allmlp.studies.study import FullScale

__all__ = ["TABLE_2", "TABLE_3", "PaperRow", "paper_training", "row_of"]


class PaperRow(NamedTuple):
    """A Mixer of the paper: how it was pre-trained, what it reached once it was fine-tuned, and its cost.

    variant: of table 1.
    image_size: of fine-tuning and inference, in pixels; pre-training has 224.
    data, epochs: of pre-training.
    imagenet, real, avg5: top-1 in percent, by ImageNet's labels, by ReaL's, and the mean of the five tasks.
    vtab: the mean top-1 of VTAB-1k's 19 tasks in percent; None if the paper has none.
    images_per_second: of inference, per core of TPU v3.
    cost: of pre-training, in thousands of core-days of TPU v3.
    """

    variant: str
    image_size: int
    data: str
    epochs: int
    imagenet: float
    real: float
    avg5: float
    vtab: float | None
    images_per_second: int
    cost: float


TABLE_3: Sequence[PaperRow] = (
    PaperRow("B/16", 224, "ImageNet", 300, 76.44, 82.36, 88.33, None, 1384, 0.01),
    PaperRow("L/16", 224, "ImageNet", 300, 71.76, 77.08, 87.25, None, 419, 0.04),
    PaperRow("B/16", 224, "ImageNet-21k", 300, 80.64, 85.80, 92.50, None, 1384, 0.15),
    PaperRow("L/16", 224, "ImageNet-21k", 300, 82.89, 87.54, 93.63, None, 419, 0.41),
    PaperRow("S/32", 224, "JFT-300M", 5, 68.70, 75.83, 87.13, None, 11489, 0.01),
    PaperRow("S/16", 224, "JFT-300M", 5, 73.83, 80.60, 89.50, None, 3994, 0.03),
    PaperRow("B/32", 224, "JFT-300M", 7, 75.53, 81.94, 90.99, None, 4208, 0.05),
    PaperRow("B/16", 224, "JFT-300M", 7, 80.00, 85.56, 92.60, None, 1384, 0.08),
    PaperRow("L/32", 224, "JFT-300M", 7, 80.67, 85.62, 93.24, None, 1314, 0.12),
    PaperRow("L/16", 224, "JFT-300M", 14, 84.82, 88.48, 94.77, None, 419, 0.45),
    PaperRow("H/14", 224, "JFT-300M", 14, 86.32, 89.14, 95.49, None, 194, 1.01),
)
"""The rows of table 3 at 224 pixels."""

TABLE_2: Sequence[PaperRow] = (
    PaperRow("L/16", 448, "ImageNet-21k", 300, 84.15, 87.86, 93.91, 74.95, 105, 0.41),
    PaperRow("H/14", 448, "JFT-300M", 14, 87.94, 90.18, 95.71, 75.33, 40, 1.01),
)
"""The Mixers of table 2, which alone has VTAB-1k."""

# Training photos, and what a user trains on instead of JFT-300M, which is not public.
_PHOTOS: Mapping[str, float] = {"ImageNet": 1.28e6, "ImageNet-21k": 14e6, "JFT-300M": 300e6}
_ARGUMENTS: Mapping[str, str] = {"ImageNet": "imagenet", "ImageNet-21k": "PHOTOS", "JFT-300M": "PHOTOS"}
_DATA_OF_RECIPES: Mapping[str, str] = {"imagenet": "ImageNet", "imagenet21k": "ImageNet-21k", "jft": "JFT-300M"}


def row_of(variant: str, data: str) -> PaperRow:
    """Return the row of table 3 of a Mixer that was pre-trained on `data`.

    Raises:
        ConfigError: there is none.
    """
    found = next((row for row in TABLE_3 if (row.variant, row.data) == (variant, data)), None)
    if found is None:
        raise ConfigError(f"table 3 has no Mixer-{variant} that was pre-trained on {data}.")
    return found


def paper_training(name: str, variant: str | None = None) -> FullScale:
    """Return the paper's pre-training that a recipe repeats: its command, the photos seen, and its cost by table 3.

    Args:
        name: of a recipe of table 4, such as "jft_b16". Its numbers are those of the training.
        variant: another patch size of the same Mixer, such as "B/32"; None takes the recipe's.

    Raises:
        ConfigError: an unknown recipe, or one that table 3 has no row for.
    """
    recipe = load_recipe(name)
    data = _DATA_OF_RECIPES.get(name.partition("_")[0])
    own = _variant_of(recipe.model)
    if data is None or own is None:
        raise ConfigError(f"recipe {name} is not one of table 4, so that table 3 has no cost for it.")
    variant = variant or own
    row = row_of(variant, data)
    words = ["allmlp train", _ARGUMENTS[data], "--recipe", name]
    if variant != own:
        words += ["--set", f"model.patch_size={VARIANTS[variant].patch_size}"]
    if row.epochs != recipe.num_epochs:
        words += ["--epochs", str(row.epochs)]
    return FullScale(" ".join(words), variant, row.epochs * _PHOTOS[data], round(1000 * row.cost, 6))


def _variant_of(model: MixerTemplate) -> str | None:
    """Return the row of table 1 that a recipe's Mixer is, whatever its regularisation."""
    plain = dataclasses.replace(model, stochastic_depth=0.0, dropout=0.0)
    return next((name for name, config in VARIANTS.items() if config.as_template() == plain), None)
