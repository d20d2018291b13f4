"""The laws of pre-processing: how each project's code computes sizes and crops, and which settings it has at all."""

import math
from collections.abc import Mapping
from typing import Any, Literal

import numpy as np

__all__ = ["Fit", "Law", "changed_settings", "crop_offset", "scaled_size", "settings_against_law"]

Fit = Literal["crop", "squash", "pad"]
"""How a photo of another aspect ratio is made to fit; see `Preprocessing`."""

Law = Literal["allmlp", "timm", "big_vision", "vit_jax"]
"""Whose code pre-processing follows; see `Preprocessing`."""

# With which the authors' code evaluates Mixers.
_EVALUATION: Mapping[str, Mapping[str, Any]] = {
    "big_vision": {"fit": "crop", "crop_fraction": 0.875, "interpolation": "bilinear"},  # configs/mlp_mixer_i1k.py
    "vit_jax": {"fit": "squash", "crop_fraction": 1.0, "interpolation": "bilinear"},  # input_pipeline.py
}

_ALLOWED: Mapping[str, Mapping[str, tuple[Any, ...]]] = {
    "allmlp": {},
    "timm": {},
    "big_vision": {"fit": ("crop", "squash"), "interpolation": ("bilinear",)},
    "vit_jax": {"fit": ("squash",), "crop_fraction": (1.0,), "interpolation": ("bilinear",)},
}


def settings_against_law(law: Law, settings: Mapping[str, Any]) -> str:
    """Return which of the fields of a `Preprocessing` the code of a law does not have, in words; "" if it has all."""
    problems = [
        f"{name} is {settings[name]!r}, expected {' or '.join(map(repr, allowed))}"
        for name, allowed in _ALLOWED[law].items()
        if settings[name] not in allowed
    ]
    if not problems:
        return ""
    return f"law={law!r} does not have these settings: {', '.join(problems)}; change them, or choose law='allmlp'"


def changed_settings(settings: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of a `Preprocessing` with `changes`, and with what follows from them unless it is given, too.

    The law of the authors' code brings the settings of its evaluation; a setting that the law's code does not have makes the
    law ours; and with `fit` "pad", nothing is cropped.
    """
    law = changes.get("law")
    values = {**settings, **(_EVALUATION.get(law, {}) if isinstance(law, str) else {}), **changes}
    if changes.get("fit") == "pad" and "crop_fraction" not in changes:
        values["crop_fraction"] = 1.0
    if "law" not in changes and settings_against_law(values["law"], values):
        values["law"] = "allmlp"
    return values


def scaled_size(
    law: Law, fit: Fit, image_size: tuple[int, int], crop_fraction: float, photo: tuple[int, int]
) -> tuple[int, int]:
    """Return the (height, width) to which a photo of (height, width) is scaled before it is cropped or padded to `image_size`.

    Source: torchvision, `Resize` with an integer, for a square in timm's law, and timm, data/transforms.py, `ResizeKeepRatio`,
    for others; big_vision, pp/ops_image.py, `resize_small`.
    """
    to_int = math.floor if law == "timm" else round
    height, width = (to_int(side / crop_fraction) for side in image_size)
    if fit == "squash":
        return height, width
    if law == "timm":
        return _scaled_as_timm(fit, (height, width), photo)
    if law == "big_vision":  # float32, half to even
        factor = max(np.float32(height) / np.float32(photo[0]), np.float32(width) / np.float32(photo[1]))
        scaled = [int(np.rint(np.float32(side) * factor)) for side in photo]
        return max(height, scaled[0]), max(width, scaled[1])
    ratios = height / photo[0], width / photo[1]
    if fit == "pad":
        return max(1, round(photo[0] * min(ratios))), max(1, round(photo[1] * min(ratios)))
    return max(height, round(photo[0] * max(ratios))), max(width, round(photo[1] * max(ratios)))


def _scaled_as_timm(fit: Fit, target: tuple[int, int], photo: tuple[int, int]) -> tuple[int, int]:
    if fit == "crop" and target[0] == target[1]:
        longer = int(target[0] * max(photo) / min(photo))  # rounded down
        return (target[0], longer) if photo[0] <= photo[1] else (longer, target[0])
    ratios = photo[0] / target[0], photo[1] / target[1]
    ratio = max(ratios) if fit == "pad" else min(ratios)
    return max(1, round(photo[0] / ratio)), max(1, round(photo[1] / ratio))


def crop_offset(law: Law, spare: int) -> int:
    """Return where a centre crop begins that leaves out `spare` pixels of an axis."""
    return round(spare / 2) if law == "timm" else spare // 2  # torchvision's `CenterCrop` rounds halves to even
