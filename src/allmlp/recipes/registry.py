"""All recipes by name, and your own from importable modules."""

import importlib
from collections.abc import Callable

from allmlp.errors import ConfigError, did_you_mean
from allmlp.recipes.paper import (
    big_vision_b16,
    imagenet21k_b16,
    imagenet21k_l16,
    imagenet_b16,
    imagenet_l16,
    jft_b16,
    jft_h14,
    jft_l16,
    jft_s16,
)
from allmlp.recipes.small import cifar10, demo, demo_short, photos64, photos128
from allmlp.recipes.starter import starter
from allmlp.recipes.transfer import finetune, finetune_cifar, finetune_paper, finetune_paper_squash
from allmlp.training import Recipe

__all__ = ["RECIPES", "load_recipe"]

RECIPES: dict[str, Callable[[], Recipe]] = {
    "demo": demo,
    "demo_short": demo_short,
    "cifar10": cifar10,
    "photos64": photos64,
    "photos128": photos128,
    "starter": starter,
    "finetune": finetune,
    "finetune_paper": finetune_paper,
    "finetune_paper_squash": finetune_paper_squash,
    "finetune_cifar": finetune_cifar,
    "imagenet_b16": imagenet_b16,
    "imagenet_l16": imagenet_l16,
    "imagenet21k_b16": imagenet21k_b16,
    "imagenet21k_l16": imagenet21k_l16,
    "jft_s16": jft_s16,
    "jft_b16": jft_b16,
    "jft_l16": jft_l16,
    "jft_h14": jft_h14,
    "big_vision_b16": big_vision_b16,
}


def load_recipe(name: str) -> Recipe:
    """Return a recipe of `RECIPES`, or your own from an importable module, named "my_module:my_recipe".

    Raises:
        ConfigError: an unknown recipe (similar names are suggested), module or function.
    """
    if name in RECIPES:
        return RECIPES[name]()
    if ":" not in name:
        raise ConfigError(
            f"unknown recipe {name!r}.{did_you_mean(name, RECIPES)} "
            f"Expected one of {', '.join(RECIPES)}, or your own as my_module:my_recipe."
        )
    module_name, _, function_name = name.partition(":")
    try:
        function = getattr(importlib.import_module(module_name), function_name)
    except (ImportError, AttributeError, ValueError) as error:
        raise ConfigError(f"recipe {name!r}: {error}. Expected an importable module and a function in it.") from error
    recipe = function() if callable(function) else function
    if not isinstance(recipe, Recipe):
        raise ConfigError(
            f"recipe {name!r}: {function_name} returned a value of type {type(recipe).__name__}; expected an allmlp.Recipe."
        )
    return recipe
