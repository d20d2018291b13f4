"""A small folder of timm's: S/32's patch, depth and width, which are timm's, with narrow MLPs."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from safetensors.torch import save_file
from tests.builders import random_weights
from tests.reference.other_layouts import timm_name
from torch import Tensor

from allmlp import VARIANTS

# 1.8 instead of 19 million parameters.
NARROW_S32 = replace(
    VARIANTS["S/32"], image_size=(64, 64), tokens_mlp_dim=12, channels_mlp_dim=40, num_classes=5, gelu="erf"
)


def timm_weights(seed: int = 0) -> dict[str, Tensor]:
    """Return weights of NARROW_S32 in timm's names."""
    return {timm_name(name): weight for name, weight in random_weights(NARROW_S32, seed=seed).items()}


def write_timm_folder(folder: Path, **changes: Any) -> Path:
    """Write the weights and a configuration with changes."""
    save_file(timm_weights(), folder / "model.safetensors")
    config = {
        "architecture": "mixer_s32_224",
        "num_classes": 5,
        "label_names": ["a", "b", "c", "d", "e"],
        "model_args": {"img_size": 64, "mlp_ratio": [12 / 512, 40 / 512]},
        "pretrained_cfg": {"input_size": [3, 64, 64], "mean": [0.5] * 3, "std": [0.5] * 3, "crop_pct": 0.9},
        **changes,
    }
    (folder / "config.json").write_text(json.dumps(config))
    return folder
