"""Trained weights at another image size, or with another patch size.

Only token mixing knows the number of tokens: W1 (D_S, S), W2 (S, D_S) and b2 (S,), whose axis of S = h · w tokens is the
patch grid in row-major order. Everything else is the same at any image size.

- "block" is appendix C of the paper, for a grid a times as high and b times as wide, a and b whole. The tokens are seen as
  a × b parts; D_S grows a · b times, and each part is mixed by itself with a copy of the old weights. Before any training
  the logits are then the mean of those of the a × b crops, exactly.
- "resample" takes any grid and keeps D_S. Let R be the linear, antialiased interpolation from the old grid to the new one: a
  smooth feature map x looks like R x there. Its hidden activations stay what they were, W1' R x ≈ W1 x, for W1' = W1 R⁺ with
  the pseudo-inverse, as FlexiViT resizes patch projections (arXiv 2212.08013). What they add to the tokens is a map like any
  other: W2' = R W2, b2' = R b2. R⁺ is damped: undoing the interpolation of the finest detail as well amplifies noise, which
  costs accuracy where the grid shrinks (measured in experiments/resolution).
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Literal

import torch
from torch import Tensor

from allmlp.errors import ConfigError
from allmlp.hardware.memory import total_memory
from allmlp.model.cost import num_parameters
from allmlp.model.variants import MixerConfig

__all__ = ["Method", "at_patch_size", "at_resolution"]

# Of the squared size of the interpolation. 0 is the pseudo-inverse: as good where the grid grows, worse where it shrinks; 0.3
# is the other way round.
_DAMPING = 0.1

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
        ConfigError: a size that is no multiple of the patch size, or of the present size for "block" (the nearest possible
            ones are named), or whose weights would take more than half of the memory that this process may use.

    Source: appendix C of the paper; for "resample" arXiv 2212.08013, section 3.4, carried over to token mixing.
    """
    new = _resized(config, image_size, method=method)
    if new.grid == config.grid:
        return new, dict(weights)
    _check_memory(new, weights, method)
    change = _by_blocks(config, new) if method == "block" else _by_resampling(config, new)
    return new, {
        name: change[name.partition(".token_mixing.")[2]](weight) if ".token_mixing." in name else weight
        for name, weight in weights.items()
    }


def _resized(config: MixerConfig, image_size: tuple[int, int], *, method: Method) -> MixerConfig:
    """Return the configuration that `at_resolution` returns.

    Raises:
        ConfigError: an invalid size; the nearest valid ones are named.
    """
    new = replace(config, image_size=image_size)
    if method == "resample":
        return new
    factors = _factors(config, new)
    return replace(new, tokens_mlp_dim=factors[0] * factors[1] * config.tokens_mlp_dim)


def at_patch_size(
    config: MixerConfig, weights: Mapping[str, Tensor], patch_size: int
) -> tuple[MixerConfig, dict[str, Tensor]]:
    """Return the same Mixer for patches of another size: the grid stays, the image grows or shrinks with its patches.

    A larger patch that is a smaller one interpolated gives the same token; smaller patches give the nearest there is.

    Raises:
        ConfigError: a patch size under 1, or whose weights would take more than half of the memory that this process may use.

    Source: FlexiViT's PI-resize, arXiv 2212.08013, section 3.4.
    """
    height, width = (side * patch_size for side in config.grid)
    new = replace(config, image_size=(height, width), patch_size=patch_size)
    if patch_size == config.patch_size:
        return new, dict(weights)
    _check_memory(new, weights, None)
    along, _ = interpolation((config.patch_size, 1), (patch_size, 1))
    back = torch.linalg.pinv(along)  # (P, P')
    projection = weights["patch_projection.weight"]
    return new, {**weights, "patch_projection.weight": (back.mT @ projection.double() @ back).to(projection.dtype)}


def _by_blocks(config: MixerConfig, new: MixerConfig) -> Mapping[str, Callable[[Tensor], Tensor]]:
    parts = _parts(config.grid, _factors(config, new))
    return {
        "fc1.weight": lambda weight: _spread(weight.mT, parts).mT.contiguous(),
        "fc1.bias": lambda bias: torch.cat([bias] * len(parts)),
        "fc2.weight": lambda weight: _spread(weight, parts),
        "fc2.bias": lambda bias: _place(bias, parts),
    }


def _by_resampling(config: MixerConfig, new: MixerConfig) -> Mapping[str, Callable[[Tensor], Tensor]]:
    forth = interpolation(config.grid, new.grid)
    back = (_undo(forth[0]), _undo(forth[1]))
    return {
        "fc1.weight": lambda weight: _resample(weight, (back[0].mT, back[1].mT)),
        "fc1.bias": lambda bias: bias,
        "fc2.weight": lambda weight: _resample(weight.mT, forth).mT.contiguous(),
        "fc2.bias": lambda bias: _resample(bias, forth),
    }


def _check_memory(new: MixerConfig, weights: Mapping[str, Tensor], method: Method | None) -> None:
    """Refuse weights beyond the memory. `method` is how they reach another grid; None: their patches change instead."""
    memory = total_memory()
    wanted = num_parameters(new) * max(weight.element_size() for weight in weights.values())
    if memory is not None and wanted > memory / 2:
        height, width = new.image_size
        how = f"patches of {new.patch_size} × {new.patch_size}" if method is None else f"method {method!r}"
        raise ConfigError(
            f"image_size {height} × {width} by {how}: the weights would take {wanted / 1e9:,.0f} GB, of the "
            f"{memory / 1e9:,.0f} GB of memory that this process may use. Choose a smaller size."
            + (" Method 'resample' makes smaller weights." if method == "block" else "")
        )


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


def _undo(along: Tensor) -> Tensor:
    """Return the damped pseudo-inverse (old, new) of an interpolation along one axis (new, old); rows sum to 1."""
    new, old = along.shape
    damping = _DAMPING * new / old * torch.eye(old, dtype=along.dtype)
    inverse = torch.linalg.solve(along.mT @ along + damping, along.mT)
    damped: Tensor = inverse / inverse.sum(dim=1, keepdim=True)
    return damped


def _resample(rows: Tensor, matrices: tuple[Tensor, Tensor]) -> Tensor:
    """Apply matrices (h', h) and (w', w) to rows (..., h w), each a map on a grid: (..., h' w')."""
    along_height, along_width = matrices
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
