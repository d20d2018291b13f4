"""Settings of a run that trains only the classifier, on features that are computed once."""

import dataclasses
from collections.abc import Collection
from typing import TypeVar

from allmlp.data import Augmentation
from allmlp.errors import ConfigError
from allmlp.training.recipe.recipe import Recipe

__all__ = ["check_cached_settings", "trains_on_features", "with_cached_passes"]

AnyRecipe = TypeVar("AnyRecipe", bound=Recipe)

# Cached features are of single photos, so that no two photos can be mixed.
_NO_MIXING = {name: getattr(Augmentation, name) for name in ("mixup", "cutmix", "mix_probability")}


def trains_on_features(recipe: Recipe) -> bool:
    """Return whether a recipe trains only the classifier, on the features of a fixed number of passes.

    A teacher answers about images, so that with one, the features are computed in every epoch.
    """
    return (
        recipe.transfer.trained_blocks == 0
        and recipe.transfer.cached_passes > 0
        and recipe.distillation.teacher is None
    )


def with_cached_passes(recipe: AnyRecipe) -> AnyRecipe:
    """Return a recipe whose settings agree on cached features, as they are stored in recipe.json.

    With them, mixup and CutMix are off; and if nothing else differs between passes, one pass is enough. Without them,
    `transfer.cached_passes` is 0.
    """
    num_passes = recipe.transfer.cached_passes if trains_on_features(recipe) else 0
    if num_passes:
        recipe = dataclasses.replace(recipe, augmentation=dataclasses.replace(recipe.augmentation, **_NO_MIXING))
        num_passes = num_passes if _passes_differ(recipe) else 1
    return dataclasses.replace(recipe, transfer=dataclasses.replace(recipe.transfer, cached_passes=num_passes))


def check_cached_settings(recipe: Recipe, keys: Collection[str]) -> None:
    """Check that the settings `keys` that a user has changed in `recipe` have an effect with or without cached features.

    Raises:
        ConfigError: mixing with cached features, or a number of cached passes although more than the classifier is trained.
    """
    mixing = [key for key in keys if key.removeprefix("augmentation.") in _NO_MIXING]
    if trains_on_features(recipe) and mixing:
        raise ConfigError(
            f"--set {', '.join(mixing)}: only the classifier is trained, on features of single photos that are computed once. "
            "Omit it, or compute them anew in every epoch (--set transfer.cached_passes=0)."
        )
    if recipe.transfer.trained_blocks != 0 and "transfer.cached_passes" in keys:
        raise ConfigError(
            "--set transfer.cached_passes: features are computed once only if nothing but the classifier is trained. Omit it, "
            "or add --set transfer.trained_blocks=0."
        )
    if recipe.distillation.teacher is not None and recipe.transfer.cached_passes and "transfer.cached_passes" in keys:
        raise ConfigError(
            "--set transfer.cached_passes: with a teacher, which answers about images, features are computed anew in every "
            "epoch. Omit it, or train without a teacher."
        )


def _passes_differ(recipe: Recipe) -> bool:
    is_augmented = dataclasses.replace(recipe.augmentation, label_smoothing=0.0, **_NO_MIXING) != Augmentation()
    return is_augmented or recipe.model.stochastic_depth > 0.0 or recipe.model.dropout > 0.0
