"""The settings of a recipe that affect results. Snapshots keep them, so that a changed recipe.json is noticed."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from allmlp.config import to_dict
from allmlp.errors import ConfigError
from allmlp.training.recipe.recipe import ResolvedRecipe

__all__ = ["CHANGEABLE", "check_settings", "result_settings"]

CHANGEABLE = ("data.storage", "data.num_workers", "saving.", "on_nonfinite", "sharded")
"""How the keys start that may change when a run is resumed."""


def result_settings(recipe: ResolvedRecipe) -> dict[str, Any]:
    """Return the settings that affect results as JSON values by their keys, such as "optimizer.learning_rate"."""
    return {key: value for key, value in _leaves(to_dict(recipe), "") if not key.startswith(CHANGEABLE)}


def check_settings(recipe: ResolvedRecipe, saved: Mapping[str, Any], *, where: Path) -> None:
    """Check that `recipe`, read from `where`, has the settings that a snapshot saved. Older versions saved none, or fewer.

    Raises:
        ConfigError: the settings that differ, each with both values.
    """
    settings = result_settings(recipe)
    differences = [
        f"{key}: the snapshot has {json.dumps(saved[key])}, now {json.dumps(settings[key])}"
        for key in settings
        if key in saved and saved[key] != settings[key]
    ]
    if differences:
        raise ConfigError(
            f"{where}: changed since the newest snapshot was saved:\n  "
            + "\n  ".join(differences)
            + "\nRestore these values to resume the run, or start a new run with --out."
        )


def _leaves(values: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, Any]]:
    for name, value in values.items():
        if isinstance(value, dict):
            yield from _leaves(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value
