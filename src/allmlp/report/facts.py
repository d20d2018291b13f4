"""Rows about a model and a recipe, and commands that run from any folder, for a page."""

import json
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from allmlp.model import MixerConfig, num_multiply_adds, num_parameters

__all__ = ["absolute_command", "flat_settings", "model_rows"]


def model_rows(model: MixerConfig) -> dict[str, str]:
    """Return the sizes of a Mixer as rows to show."""
    return {
        "image": f"{model.image_size[0]} × {model.image_size[1]} px, patches of {model.patch_size}: {model.num_tokens} tokens",
        "blocks": str(model.num_blocks),
        "widths": f"C {model.hidden_dim}, D_S {model.tokens_mlp_dim}, D_C {model.channels_mlp_dim}",
        "parameters": f"{num_parameters(model):,}",
        "GFLOPs per image": f"{2e-9 * num_multiply_adds(model):.3g}",
        "GELU": model.gelu,
    }


def absolute_command(*words: str | Path) -> str:
    """Return an allmlp command, quoted for a shell; a `Path` is written as an absolute path."""
    return shlex.join(["allmlp", *(str(word.absolute()) if isinstance(word, Path) else word for word in words)])


def flat_settings(recipe: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Return the settings of a recipe by dotted key, in the syntax of `--set`.

    Scalars come before nested groups: they belong to no group, or to the group that has just started.
    """
    rows: dict[str, str] = {}
    for key, value in sorted(recipe.items(), key=lambda item: isinstance(item[1], Mapping)):
        if isinstance(value, Mapping):
            rows |= flat_settings(value, f"{prefix}{key}.")
        else:
            rows[prefix + key] = _set_syntax(value)
    return rows


def _set_syntax(value: object) -> str:
    if value is None:
        return "none"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
