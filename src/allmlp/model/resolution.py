"""Trained weights at another image size, or with another patch size.

Only token mixing knows the number of tokens: W1 (D_S, S), W2 (S, D_S) and b2 (S,), whose axis of S = h · w tokens is the
patch grid in row-major order. Everything else is the same at any image size.

- "block" is appendix C of the paper, for a grid a times as high and b times as wide, a and b whole. The tokens are seen as
  a × b parts; D_S grows a · b times, and each part is mixed by itself with a copy of the old weights. Before any training
  the logits are then the mean of those of the a × b crops, exactly.
- "resample" takes any grid and keeps D_S. It computes what mixing on the old grid would: the tokens are resampled to the old
  grid by B, mixed, and the result is resampled to the new grid by R, both linear and antialiased. Being linear, they become
  part of the weights: W1' = W1 B, W2' = R W2, b2' = R b2. A smooth feature map x looks like R x on the new grid, and since
  B R x ≈ x its hidden activations stay what they were.

  FlexiViT's pseudo-inverse (W1' = W1 R⁺, arXiv 2212.08013) makes them equal, but inverts the interpolation of fine detail
  too, which is noise: at once it was worse at every size tried (experiments/resolution).
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Literal

import torch
from torch import Tensor

from allmlp.errors import ConfigError
from allmlp.model.variants import MixerConfig

__all__ = ["Method", "at_patch_size", "at_resolution"]

Method = Literal["block", "resample"]
"""How the weights of token mixing reach another grid."""


def at_resolution(
    config: MixerConfig, weights: Mapping[str, Tensor], image_size: tuple[int, int], *, method: Method
) -> tuple[MixerConfig, dict[str, Tensor]]:
    """Return the configuration and the weights of the same Mixer at `image_size`, in pixels.

    Args:
        config: what the weights are for.
        weights: by the names of `MlpMixer`; not changed. Those that need no change are shared, not copied.
        image_size: (height, width), multiples of the patch size.
        method: "block" (whole multiples of the present grid) or "resample" (any grid).

    Raises:
        ConfigError: a size that is no multiple of the patch size, or of the present size for "block"; the nearest possible
            ones are named.

    Source: appendix C of the paper; for "resample" arXiv 2212.08013, section 3.4, carried over to token mixing.
    """
    new = replace(config, image_size=image_size)
    if new.grid == config.grid:
        return new, dict(weights)
    if method == "block":
        factors = _factors(config, new)
        new = replace(new, tokens_mlp_dim=factors[0] * factors[1] * config.tokens_mlp_dim)
        parts = _parts(config.grid, factors)
        change: Mapping[str, Callable[[Tensor], Tensor]] = {
            "fc1.weight": lambda weight: _spread(weight.mT, parts).mT.contiguous(),
            "fc1.bias": lambda bias: torch.cat([bias] * len(parts)),
            "fc2.weight": lambda weight: _spread(weight, parts),
            "fc2.bias": lambda bias: _place(bias, parts),
        }
    else:
        forth, back = interpolation(config.grid, new.grid), interpolation(new.grid, config.grid)
        change = {
            "fc1.weight": lambda weight: _resample(weight, back, of_maps=False),
            "fc1.bias": lambda bias: bias,
            "fc2.weight": lambda weight: _resample(weight.mT, forth).mT.contiguous(),
            "fc2.bias": lambda bias: _resample(bias, forth),
        }
    return new, {
        name: change[name.partition(".token_mixing.")[2]](weight) if ".token_mixing." in name else weight
        for name, weight in weights.items()
    }


def at_patch_size(
    config: MixerConfig, weights: Mapping[str, Tensor], patch_size: int
) -> tuple[MixerConfig, dict[str, Tensor]]:
    """Return the same Mixer for patches of another size: the grid stays, the image grows or shrinks with its patches.

    A larger patch that is a smaller one interpolated gives the same token; smaller patches give the nearest there is.

    Raises:
        ConfigError: a patch size under 1.

    Source: FlexiViT's PI-resize, arXiv 2212.08013, section 3.4.
    """
    height, width = (side * patch_size for side in config.grid)
    new = replace(config, image_size=(height, width), patch_size=patch_size)
    if patch_size == config.patch_size:
        return new, dict(weights)
    along, _ = interpolation((config.patch_size, 1), (patch_size, 1))
    back = torch.linalg.pinv(along)  # (P, P')
    projection = weights["patch_projection.weight"]
    return new, {**weights, "patch_projection.weight": (back.mT @ projection.double() @ back).to(projection.dtype)}


def interpolation(old: tuple[int, int], new: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Return matrices (h', h) and (w', w), float64, that resample a map (h, w) linearly: along height @ map @ along width.T.

    Between cell centres, the edge repeated beyond them; a triangle filter over all cells when an axis shrinks (antialiased).
    The identity where an axis keeps its length; rows sum to 1.
    """
    along_height, along_width = (_along(*sides) for sides in zip(old, new, strict=True))
    return along_height, along_width


def _along(old: int, new: int) -> Tensor:
    ratio = old / new
    radius = max(ratio, 1.0)  # of the triangle, in old cells
    centres = (torch.arange(new, dtype=torch.float64) + 0.5) * ratio - 0.5
    if ratio <= 1.0:
        centres = centres.clamp(0, old - 1)  # the edge is repeated
    distances = (centres[:, None] - torch.arange(old, dtype=torch.float64)[None]).abs()  # (new, old)
    triangle = (1 - distances / radius).clamp(min=0)
    return triangle / triangle.sum(dim=1, keepdim=True)


def _resample(rows: Tensor, matrices: tuple[Tensor, Tensor], *, of_maps: bool = True) -> Tensor:
    """Resample rows (..., S), each a map on a grid, or each weights that are applied to such a map, to (..., S')."""
    along_height, along_width = matrices if of_maps else (matrices[0].mT, matrices[1].mT)
    maps = rows.double().reshape(*rows.shape[:-1], along_height.shape[1], along_width.shape[1])  # (..., h, w)
    resampled: Tensor = (along_height @ maps @ along_width.mT).flatten(-2)
    return resampled.to(rows.dtype)


def _factors(config: MixerConfig, new: MixerConfig) -> tuple[int, int]:
    sides, wanted = config.image_size, new.image_size
    if any(side % old for side, old in zip(wanted, sides, strict=True)):
        nearest = [
            sorted({max(side // old, 1) * old, -(-side // old) * old}) for side, old in zip(wanted, sides, strict=True)
        ]
        raise ConfigError(
            f"image_size {wanted[0]} × {wanted[1]} is no whole multiple of {sides[0]} × {sides[1]}, as method 'block' "
            f"(appendix C) needs. The nearest heights: {_either(nearest[0])}; widths: {_either(nearest[1])}. "
            "Method 'resample' takes any multiple of the patch size."
        )
    return wanted[0] // sides[0], wanted[1] // sides[1]


def _either(sides: list[int]) -> str:
    return " or ".join(map(str, sides))


def _parts(grid: tuple[int, int], factors: tuple[int, int]) -> list[Tensor]:
    """Return, for each of the a × b parts of the new image in row-major order, the places of its S tokens in it."""
    (h, w), (a, b) = grid, factors
    places = torch.arange(a * h * b * w).reshape(a, h, b, w).permute(0, 2, 1, 3)  # (a, b, h, w)
    return list(places.reshape(a * b, h * w))


def _place(values: Tensor, parts: list[Tensor]) -> Tensor:  # (S, ...) -> (S', ...)
    placed = values.new_empty(len(parts) * len(values), *values.shape[1:])
    for part in parts:
        placed[part] = values
    return placed


def _spread(weight: Tensor, parts: list[Tensor]) -> Tensor:  # (S, D_S) -> (S', D_S')
    """Return copies of a map to tokens, each to its own part from its own hidden units: blocks on scattered rows."""
    tokens, hidden = weight.shape
    spread = weight.new_zeros(len(parts) * tokens, len(parts) * hidden)
    for index, part in enumerate(parts):
        spread[part, index * hidden : (index + 1) * hidden] = weight
    return spread
