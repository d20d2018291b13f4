"""Parser of config.json files written by timm and transformers.

timm (`save_for_hf`, `push_to_hf_hub`) writes the arguments of the model at the top level and the pre-processing in
"pretrained_cfg". transformers (`TimmWrapperConfig`) writes the same plus its own fields. Source of every default here:
timm, timm/models/_pretrained.py and timm/data/config.py.
"""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from allmlp.checkpoints.naming.other_models import grey_advice
from allmlp.data import Preprocessing
from allmlp.errors import CheckpointError, ConfigError
from allmlp.io.display import quote

__all__ = ["FIT_BY_CROP_MODE", "TimmDescription", "matching_fraction", "parse_timm_config"]

FIT_BY_CROP_MODE: Mapping[str, Literal["crop", "squash", "pad"]] = {
    "center": "crop",
    "squash": "squash",
    "border": "pad",
}

_IMAGENET_MEAN = (0.485, 0.456, 0.406)
_IMAGENET_STD = (0.229, 0.224, 0.225)
_CROP_PCT = 0.875
_PREPROCESSING_KEYS = ("mean", "std", "interpolation", "crop_pct", "crop_mode")

_MAX_CLASSES = 1 << 17  # six times ImageNet-21k's


@dataclass(frozen=True)
class TimmDescription:
    """What a config.json states about the weights next to it; None for what it does not state.

    Attributes:
        architecture: timm's name, such as "mixer_b16_224".
        num_classes: K; 0 means no classifier.
        image_size: (height, width) that the weights are for.
        preprocessing: as in timm's evaluation; its image size is `image_size`.
        class_names: K unique names: the label descriptions if these are unique, else timm's label names.
        tag: the tag of timm's published weights, such as "goog_in21k".
    """

    architecture: str | None
    num_classes: int | None
    image_size: tuple[int, int] | None
    preprocessing: Preprocessing | None
    class_names: tuple[str, ...] | None
    tag: str | None


def parse_timm_config(values: Mapping[str, Any], *, where: str) -> TimmDescription:
    """Parse a config.json written by timm or transformers; error messages start with `where`.

    Raises:
        CheckpointError: the model is not an MLP-Mixer, or timm would not write a value or allmlp cannot reproduce it; the
            message names the key.
    """
    try:
        return _description(values)
    except (CheckpointError, ConfigError) as error:
        raise CheckpointError(f"{where}: {error}") from error
    except (OverflowError, RecursionError) as error:
        raise CheckpointError(f"{where}: numbers out of range or lists nested too deeply ({error}).") from error


def matching_fraction(sides: Sequence[int], scaled: Sequence[int], *, near: float) -> float | None:
    """Return a crop fraction for which timm resizes to `scaled` before it crops to `sides`; None if there is none.

    timm rounds side / fraction down, other laws of `Preprocessing` to the nearest integer. If possible, the fraction suits
    both: `near` itself, or a fraction of few digits.
    """

    def holds(fraction: float, slack: float) -> bool:
        exact = [side / fraction for side in sides]
        return all(target <= value < target + slack for value, target in zip(exact, scaled, strict=True))

    for slack in (0.5, 1.0):
        if holds(near, slack):
            return near
        pairs = list(zip(sides, scaled, strict=True))
        low, high = max(side / (target + slack) for side, target in pairs), min(side / target for side, target in pairs)
        for digits in range(2, 13):
            fraction = round((low + high) / 2, digits)
            if fraction > 0 and holds(fraction, slack):
                return fraction
    return None


def _description(values: Mapping[str, Any]) -> TimmDescription:
    architecture = _architecture(values)
    # timm's older configurations are a single object, which is also the pretrained_cfg.
    pretrained = _object(values, "pretrained_cfg") if "pretrained_cfg" in values else values
    arguments = _object(values, "model_args")
    for source in (arguments, pretrained):
        if source.get("global_pool") not in (None, "avg"):
            raise CheckpointError(
                f"global_pool is {_quote(source['global_pool'])}; allmlp supports only 'avg', the mean over tokens."
            )
    num_classes = _count(values, "num_classes")
    if num_classes is None:
        num_classes = _count(pretrained, "num_classes")
    # transformers keeps the classes in the configuration of TimmWrapperModel, which has no classifier.
    is_headless = values.get("architectures") == ["TimmWrapperModel"]
    class_names = _class_names(values, pretrained, num_classes)
    image_size = _image_size(arguments, pretrained)
    return TimmDescription(
        architecture=architecture,
        num_classes=0 if is_headless else num_classes,
        image_size=image_size,
        preprocessing=_preprocessing(pretrained, image_size),
        class_names=None if is_headless else class_names,
        tag=_text(pretrained, "tag") or None,
    )


def _architecture(values: Mapping[str, Any]) -> str | None:
    architecture = _text(values, "architecture")
    if architecture is None:
        model_type = _text(values, "model_type")
        if model_type == "timm_wrapper":  # transformers omits its default
            architecture = "resnet50"
        elif model_type is not None:
            raise CheckpointError(f"{_quote(model_type)} is not an MLP-Mixer.")
    if architecture is not None and not architecture.startswith("mixer_"):
        raise CheckpointError(f"{_quote(architecture)} is not an MLP-Mixer.")
    return architecture


def _image_size(arguments: Mapping[str, Any], pretrained: Mapping[str, Any]) -> tuple[int, int] | None:
    channels = arguments.get("in_chans")
    size = arguments.get("img_size")
    if size is not None:
        where = "model_args.img_size"
        size = [size, size] if _is_int(size) else size
    elif (size := pretrained.get("input_size")) is not None:
        where = "pretrained_cfg.input_size"
        if not isinstance(size, list) or len(size) != 3:
            raise CheckpointError(f"{where} is {_quote(size)}; expected [3, height, width].")
        channels = size[0] if channels is None else channels
        size = size[1:]
    if channels == 1:
        raise CheckpointError(
            f"{grey_advice('stem.proj.weight', axis=1)} Then set in_chans and input_size to 3 channels."
        )
    if channels not in (None, 3):
        raise CheckpointError(f"its Mixer takes images of {_quote(channels)} channels; allmlp supports only 3 (RGB).")
    if size is None:
        return None
    if not isinstance(size, list) or len(size) != 2 or not all(_is_int(side) and side > 0 for side in size):
        raise CheckpointError(f"{where} is {_quote(size)}; expected height and width in pixels.")
    return size[0], size[1]


def _preprocessing(pretrained: Mapping[str, Any], image_size: tuple[int, int] | None) -> Preprocessing | None:
    if image_size is None or not any(pretrained.get(key) is not None for key in _PREPROCESSING_KEYS):
        return None
    crop_mode = _text(pretrained, "crop_mode") or "center"
    if crop_mode not in FIT_BY_CROP_MODE:
        raise CheckpointError(f"crop_mode is {_quote(crop_mode)}; expected one of {', '.join(FIT_BY_CROP_MODE)}.")
    interpolation = _text(pretrained, "interpolation") or "bicubic"
    if interpolation not in ("bilinear", "bicubic"):
        raise CheckpointError(f"interpolation is {_quote(interpolation)}; allmlp supports bilinear and bicubic.")
    crop_pct = pretrained.get("crop_pct") or _CROP_PCT
    is_number = isinstance(crop_pct, int | float) and not isinstance(crop_pct, bool)
    if not is_number or not 0 < crop_pct <= 1 or math.isinf(max(image_size) / crop_pct):
        raise CheckpointError(f"crop_pct is {_quote(crop_pct)}; expected a number above 0 and at most 1.")
    if crop_mode == "border" and crop_pct != 1:
        raise CheckpointError(
            f"crop_mode is 'border' with crop_pct {crop_pct}: timm pads the photo and then crops its border off, which "
            "allmlp does not support. Set crop_pct to 1 to show whole photos, or crop_mode to 'center' or 'squash'."
        )
    return Preprocessing(
        image_size=image_size,
        fit=FIT_BY_CROP_MODE[crop_mode],
        crop_fraction=float(crop_pct),
        interpolation="bilinear" if interpolation == "bilinear" else "bicubic",
        mean=_colour(pretrained, "mean", _IMAGENET_MEAN),
        std=_colour(pretrained, "std", _IMAGENET_STD),
        law="timm",
    )


def _colour(pretrained: Mapping[str, Any], key: str, default: tuple[float, float, float]) -> tuple[float, float, float]:
    values = pretrained.get(key)
    if values is None:
        return default
    is_number = [isinstance(value, int | float) and not isinstance(value, bool) for value in _list(values, key)]
    if len(values) != 3 or not all(is_number):
        raise CheckpointError(f"{key} is {_quote(values)}; expected three numbers, one for each of R, G, B.")
    return float(values[0]), float(values[1]), float(values[2])


def _class_names(
    values: Mapping[str, Any], pretrained: Mapping[str, Any], num_classes: int | None
) -> tuple[str, ...] | None:
    # timm's current and former keys, then transformers'.
    for source, key in (
        (values, "label_names"),
        (pretrained, "label_names"),
        (values, "labels"),
        (values, "id2label"),
        (values, "label2id"),
    ):
        if source.get(key):
            names = _labels(source[key], key, num_classes)
            break
    else:
        return None
    if all(name == f"LABEL_{index}" for index, name in enumerate(names)):  # transformers' placeholders
        return None
    if num_classes is not None and len(names) != num_classes:
        raise CheckpointError(f"{key} holds {len(names):,} names for {num_classes:,} classes.")
    for source in (values, pretrained):
        descriptions = _object(source, "label_descriptions")
        described = [descriptions.get(name) for name in names]
        if all(isinstance(text, str) for text in described) and len(set(described)) == len(names):
            return tuple(str(text) for text in described)
    counts = Counter(names)
    numbered = [name if counts[name] == 1 else f"{name} (class {index})" for index, name in enumerate(names)]
    if len(set(numbered)) != len(names):
        raise CheckpointError(f"{key} holds the same name more than once.")
    return tuple(numbered)


def _labels(labels: Any, key: str, num_classes: int | None) -> list[str]:
    """Return one name per class from a list, or from an object keyed by class index, in which classes may be missing."""
    if isinstance(labels, dict):
        if key == "label2id":
            labels = {str(index): name for name, index in labels.items()}
        if not all(name.isascii() and name.isdigit() and len(name) < 8 for name in labels):
            raise CheckpointError(f"{key} is an object whose keys are not all class indices.")
        by_index = {int(name): label for name, label in labels.items()}
        count = max(by_index) + 1 if num_classes is None else max(num_classes, max(by_index) + 1)
        if count > _MAX_CLASSES:
            raise CheckpointError(f"{key} names class {max(by_index):,}; expected at most {_MAX_CLASSES:,} classes.")
        labels = [by_index.get(index, str(index)) for index in range(count)]
    if not all(isinstance(label, str) for label in _list(labels, key)):
        wrong = next(label for label in labels if not isinstance(label, str))
        raise CheckpointError(f"{key} holds {_quote(wrong)}; expected class names.")
    return list(labels)


def _object(values: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = values.get(key)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise CheckpointError(f"{key} is {_quote(value)}; expected an object.")
    return value


def _list(value: Any, key: str) -> list[Any]:
    if not isinstance(value, list):
        raise CheckpointError(f"{key} is {_quote(value)}; expected a list.")
    return value


def _text(values: Mapping[str, Any], key: str) -> str | None:
    value = values.get(key)
    if value is not None and not isinstance(value, str):
        raise CheckpointError(f"{key} is {_quote(value)}; expected text.")
    return value


def _count(values: Mapping[str, Any], key: str) -> int | None:
    value = values.get(key)
    if value is None:
        return None
    if not _is_int(value) or not 0 <= value <= _MAX_CLASSES:
        raise CheckpointError(f"{key} is {_quote(value)}; expected a whole number from 0 to {_MAX_CLASSES:,}.")
    return int(value)


def _is_int(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _quote(value: Any) -> str:
    is_long = isinstance(value, dict | list) and len(value) >= 10
    return f"a {type(value).__name__}" if is_long else quote(value, limit=100)
