"""A folder that timm and transformers load: timm's names, its config.json, pre-processing and class names included."""

import math
from pathlib import Path
from typing import Any

from allmlp.checkpoints.checkpoint import Checkpoint
from allmlp.checkpoints.formats.file_names import CONFIG_FILE, WEIGHTS_FILE
from allmlp.checkpoints.formats.timm_config import FIT_BY_CROP_MODE, matching_fraction
from allmlp.checkpoints.naming.schemes import LAYOUTS
from allmlp.data import Preprocessing
from allmlp.errors import ConfigError
from allmlp.io.atomic_write import to_json, write_together
from allmlp.model import VARIANTS, MixerConfig

__all__ = ["ARCHITECTURES", "save_timm", "unsupported_by_timm"]

# The variants that timm defines (timm/models/mlp_mixer.py), by its names: "mixer_s32_224", ...
ARCHITECTURES = {
    f"mixer_{variant.lower().replace('/', '')}_224": config for variant, config in VARIANTS.items() if variant != "H/14"
}


def save_timm(checkpoint: Checkpoint, directory: str | Path) -> Path:
    """Write `directory`/model.safetensors and `directory`/config.json for timm and transformers and return the folder.

    The weights keep their bits and their width. timm: `timm.create_model("local-dir:DIRECTORY", pretrained=True)`.
    transformers: `pipeline("image-classification", model="DIRECTORY")`.

    Raises:
        ConfigError: a GELU or a shape that timm does not have; or the folder cannot be written, and what was there stays.
    """
    from safetensors.torch import save

    directory = Path(directory)
    description = _description(checkpoint)
    layout = next(layout for layout in LAYOUTS if layout.name == "timm")
    weights = {
        layout.theirs(name): layout.from_ours(weight.detach().cpu()) for name, weight in checkpoint.weights.items()
    }
    write_together(
        {
            directory / WEIGHTS_FILE: save(weights, metadata={"format": "pt"}),
            directory / CONFIG_FILE: to_json(description),
        }
    )
    return directory


def unsupported_by_timm(checkpoint: Checkpoint) -> tuple[str, ...]:
    """Return what timm's form cannot hold of a checkpoint's GELU, shape and pre-processing, one sentence each.

    Raises:
        ConfigError: a GELU or a shape that timm does not have.
    """
    _architecture(checkpoint.config)
    preprocessing = checkpoint.preprocessing
    lost = []
    # torchvision cuts at round(spare / 2), which is even for a half; `Preprocessing` at spare // 2.
    spares = [target - side for target, side in zip(_scaled(preprocessing), preprocessing.image_size, strict=True)]
    if preprocessing.fit == "crop" or any(spare % 4 == 3 for spare in spares):
        when = "of some aspect ratios " if preprocessing.fit == "crop" else ""
        lost.append(f"Pixels: timm rounds otherwise, so that its image of photos {when}is shifted by up to one pixel.")
    if _crop_pct(preprocessing) is None:
        scaled = " × ".join(str(side) for side in _scaled(preprocessing))
        lost.append(
            f"Scale: no crop_pct makes timm scale photos to {scaled} before it cuts; it scales them to one pixel less."
        )
    return tuple(lost)


def _description(checkpoint: Checkpoint) -> dict[str, Any]:
    config = checkpoint.config
    description: dict[str, Any] = {
        "architecture": _architecture(config),
        "num_classes": config.num_classes,
        "num_features": config.hidden_dim,
        "global_pool": "avg",
    }
    if checkpoint.class_names:
        description["label_names"] = list(checkpoint.class_names)
    if arguments := _model_args(config):
        description["model_args"] = arguments
    description["pretrained_cfg"] = _pretrained_cfg(config, checkpoint.preprocessing)
    return description


def _architecture(config: MixerConfig) -> str:
    shapes = {(known.patch_size, known.num_blocks, known.hidden_dim): name for name, known in ARCHITECTURES.items()}
    shape = (config.patch_size, config.num_blocks, config.hidden_dim)
    problems = []
    if shape not in shapes:
        known = ", ".join(f"{name} {one}" for one, name in shapes.items())
        problems.append(
            f"timm has no Mixer with patch size, blocks and width {shape}. It has {known}. "
            "Keep this one as it is (--to allmlp) or for the authors' code (--to google)."
        )
    if config.gelu != "erf":
        problems.append(
            f"timm's Mixers compute the erf GELU, this one {config.gelu}. With --gelu erf its logits change a little: "
            "convert prints by how much."
        )
    if problems:
        raise ConfigError("\n".join(problems))
    return shapes[shape]


def _model_args(config: MixerConfig) -> dict[str, Any]:
    # num_classes stands at the top; patch_size, num_blocks and embed_dim follow from the architecture, and timm fails when
    # they are given twice. transformers takes nothing else from here either.
    arguments: dict[str, Any] = {}
    height, width = config.image_size
    if (height, width) != (224, 224):
        arguments["img_size"] = height if height == width else [height, width]
    ratios = [_mlp_ratio(width, config.hidden_dim) for width in (config.tokens_mlp_dim, config.channels_mlp_dim)]
    if ratios != [0.5, 4.0]:
        arguments["mlp_ratio"] = ratios
    return arguments


def _mlp_ratio(width: int, hidden_dim: int) -> float:
    """Return the ratio for which timm's int(ratio * hidden_dim) is `width`."""
    ratio = width / hidden_dim
    # The product may come out a bit under the width, and int() then takes one off; the next number is enough above.
    ratio = ratio if int(ratio * hidden_dim) == width else math.nextafter(ratio, math.inf)
    assert int(ratio * hidden_dim) == width
    return ratio


def _pretrained_cfg(config: MixerConfig, preprocessing: Preprocessing) -> dict[str, Any]:
    crop_modes = {fit: crop_mode for crop_mode, fit in FIT_BY_CROP_MODE.items()}
    return {
        "custom_load": False,
        "input_size": [3, *preprocessing.image_size],
        "fixed_input_size": True,
        "interpolation": preprocessing.interpolation,
        "crop_pct": _crop_pct(preprocessing) or preprocessing.crop_fraction,
        "crop_mode": crop_modes[preprocessing.fit],
        "mean": list(preprocessing.mean),
        "std": list(preprocessing.std),
        "num_classes": config.num_classes,
        "pool_size": None,
        "first_conv": "stem.proj",
        "classifier": "head",
    }


def _crop_pct(preprocessing: Preprocessing) -> float | None:
    return matching_fraction(preprocessing.image_size, _scaled(preprocessing), near=preprocessing.crop_fraction)


def _scaled(preprocessing: Preprocessing) -> tuple[int, int]:
    """Return the (height, width) that `Preprocessing` scales to before it cuts."""
    height, width = (round(side / preprocessing.crop_fraction) for side in preprocessing.image_size)
    return height, width
