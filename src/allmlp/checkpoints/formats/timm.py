"""Writer of folders that timm and transformers load: timm's names and config.json, pre-processing and class names."""

import math
from pathlib import Path
from typing import Any

from allmlp.checkpoints.checkpoint import Checkpoint
from allmlp.checkpoints.formats.file_names import CONFIG_FILE, WEIGHTS_FILE
from allmlp.checkpoints.formats.timm_config import FIT_BY_CROP_MODE, matching_fraction
from allmlp.checkpoints.naming.schemes import NAMING_SCHEMES
from allmlp.data import Preprocessing
from allmlp.errors import ConfigError
from allmlp.io.atomic_write import to_json, write_together
from allmlp.model import VARIANTS, MixerConfig

__all__ = ["ARCHITECTURES", "lost_in_timm", "save_timm"]

# The variants that timm defines (timm/models/mlp_mixer.py), by timm's names: "mixer_s32_224", ...
ARCHITECTURES = {
    f"mixer_{variant.lower().replace('/', '')}_224": config for variant, config in VARIANTS.items() if variant != "H/14"
}


def save_timm(checkpoint: Checkpoint, directory: str | Path) -> Path:
    """Write `directory`/model.safetensors and `directory`/config.json for timm and transformers and return the folder.

    The weights keep their bits and their width. To load the folder with timm, use
    `timm.create_model("local-dir:DIRECTORY", pretrained=True)`; with transformers,
    `pipeline("image-classification", model="DIRECTORY")`.

    Raises:
        ConfigError: timm does not have the GELU or the shape, or the folder cannot be written; existing files stay.
    """
    from safetensors.torch import save

    directory = Path(directory)
    description = _description(checkpoint)
    scheme = next(scheme for scheme in NAMING_SCHEMES if scheme.name == "timm")
    weights = {
        scheme.theirs(name): scheme.from_ours(weight.detach().cpu()) for name, weight in checkpoint.weights.items()
    }
    write_together(
        {
            directory / WEIGHTS_FILE: save(weights, metadata={"format": "pt"}),
            directory / CONFIG_FILE: to_json(description),
        }
    )
    return directory


def lost_in_timm(checkpoint: Checkpoint) -> tuple[str, ...]:
    """Return how timm's pre-processing will differ from the checkpoint's, one sentence per difference.

    Raises:
        ConfigError: timm does not have the checkpoint's GELU or shape.
    """
    _architecture(checkpoint.config)
    preprocessing = checkpoint.preprocessing
    if preprocessing.law == "timm":
        return ()
    lost = []
    if not preprocessing.is_antialiased:
        lost.append(
            f"Pixels: timm resizes with antialiasing, this checkpoint without (its law is {preprocessing.law})."
        )
    # torchvision crops at round(spare / 2), which rounds halves to even; `Preprocessing` crops at spare // 2.
    spares = [target - side for target, side in zip(_scaled(preprocessing), preprocessing.image_size, strict=True)]
    if preprocessing.fit == "crop" or any(spare % 4 == 3 for spare in spares):
        which = "photos with some aspect ratios" if preprocessing.fit == "crop" else "all photos"
        lost.append(f"Pixels: timm rounds differently, so its images of {which} are shifted by up to one pixel.")
    if _crop_pct(preprocessing) is None:
        scaled = " × ".join(str(side) for side in _scaled(preprocessing))
        lost.append(
            f"Scale: no crop_pct makes timm resize photos to {scaled} before it crops; its result is one pixel smaller."
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
        known = ", ".join(f"{name} {known_shape}" for known_shape, name in shapes.items())
        problems.append(
            f"timm does not have a Mixer with patch size, number of blocks and hidden width {shape}. It has {known}. "
            "Use our format (--to allmlp) or that of the authors' code (--to google); for other engines, such as ONNX Runtime: "
            "`allmlp export CHECKPOINT`."
        )
    if config.gelu != "erf":
        problems.append(
            f"timm's Mixers use the erf GELU, this Mixer uses {config.gelu}. With --gelu erf its logits change slightly; "
            "convert prints by how much."
        )
    if problems:
        raise ConfigError("\n".join(problems))
    return shapes[shape]


def _model_args(config: MixerConfig) -> dict[str, Any]:
    # num_classes is a key at the top level; patch_size, num_blocks and embed_dim follow from the architecture, and timm
    # fails if they are given twice. transformers uses nothing else from here, either.
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
    # The product may be just below the width, which int() would truncate to width - 1; the next larger float is enough.
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
        "crop_pct": (None if preprocessing.law == "timm" else _crop_pct(preprocessing)) or preprocessing.crop_fraction,
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
    """Return the (height, width) that `Preprocessing` resizes to before it crops, by any law but timm's."""
    height, width = (round(side / preprocessing.crop_fraction) for side in preprocessing.image_size)
    return height, width
