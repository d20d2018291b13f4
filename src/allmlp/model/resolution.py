"""Trained weights at another image size, or with another patch size.

Only token mixing depends on the number of tokens: W1 (D_S, S), W2 (S, D_S) and b2 (S,), whose axis of S = h · w tokens is the
patch grid in row-major order. All other weights are the same at any image size.

- "block" is appendix C of the paper, for a grid that is a times as high and b times as wide, with integers a and b. The tokens
  are split into a × b parts; D_S grows by the factor a · b, and each part is mixed separately by a copy of the old weights.
  Before fine-tuning, the logits are exactly the mean of the logits of the a × b crops.
- "resample" takes any grid and keeps D_S. Let R be the linear, antialiased interpolation from the old grid to the new one: a
  smooth feature map x becomes R x. The hidden activations are preserved, W1' R x ≈ W1 x, by W1' = W1 R⁺ with the
  pseudo-inverse, as FlexiViT resizes patch projections (arXiv 2212.08013). The output of token mixing is interpolated as any
  map: W2' = R W2, b2' = R b2. R⁺ is damped, because inverting the interpolation of the finest details amplifies noise, which
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

# Relative to new / old, the squared scale of the interpolation. 0 is the pseudo-inverse: as good where the grid grows, worse
# where it shrinks; 0.3 is the other way round.
_DAMPING = 0.1

Method = Literal["block", "resample"]
"""How the weights of token mixing are converted to another grid."""


def at_resolution(
    config: MixerConfig, weights: Mapping[str, Tensor], image_size: tuple[int, int], *, method: Method
) -> tuple[MixerConfig, dict[str, Tensor]]:
    """Return the configuration and the weights of the same Mixer at `image_size`, in pixels.

    Args:
        config: the configuration of the weights.
        weights: by the names of `MlpMixer`; not modified. Tensors that do not change are shared, not copied.
        image_size: (height, width), multiples of the patch size.
        method: "block" (integer multiples of the current size) or "resample" (any grid).

    Raises:
        ConfigError: the size is not a multiple of the patch size, or of the current size for "block" (the nearest valid sizes
            are named), or its weights would take more than half of the memory available to this process.

    Source: appendix C of the paper; for "resample" arXiv 2212.08013, section 3.4, applied to token mixing.
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
    """Return the configuration at another image size.

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
    """Return the same Mixer for another patch size: the grid is kept, and the image size changes with the patches.

    A patch that was enlarged by interpolation gives the same token as the original; for smaller patches, tokens are as close
    as possible.

    Raises:
        ConfigError: the patch size is below 1, or the weights would take more than half of the memory of this process.

    Source: FlexiViT's PI-resize, arXiv 2212.08013, section 3.4.
    """
    height, width = (side * patch_size for side in config.grid)
    new = replace(config, image_size=(height, width), patch_size=patch_size)
    if patch_size == config.patch_size:
        return new, dict(weights)
    _check_memory(new, weights, None)
    to_new, _ = interpolation((config.patch_size, 1), (patch_size, 1))
    to_old = torch.linalg.pinv(to_new)  # (P, P')
    projection = weights["patch_projection.weight"]
    return new, {**weights, "patch_projection.weight": (to_old.mT @ projection.double() @ to_old).to(projection.dtype)}


def _by_blocks(config: MixerConfig, new: MixerConfig) -> Mapping[str, Callable[[Tensor], Tensor]]:
    parts = _parts(config.grid, _factors(config, new))
    return {
        "fc1.weight": lambda weight: _block_diagonal(weight.mT, parts).mT.contiguous(),
        "fc1.bias": lambda bias: torch.cat([bias] * len(parts)),
        "fc2.weight": lambda weight: _block_diagonal(weight, parts),
        "fc2.bias": lambda bias: _repeat(bias, parts),
    }


def _by_resampling(config: MixerConfig, new: MixerConfig) -> Mapping[str, Callable[[Tensor], Tensor]]:
    to_new = interpolation(config.grid, new.grid)
    to_old = (_damped_inverse(to_new[0]), _damped_inverse(to_new[1]))
    return {
        "fc1.weight": lambda weight: _resample(weight, (to_old[0].mT, to_old[1].mT)),
        "fc1.bias": lambda bias: bias,
        "fc2.weight": lambda weight: _resample(weight.mT, to_new).mT.contiguous(),
        "fc2.bias": lambda bias: _resample(bias, to_new),
    }


def _check_memory(new: MixerConfig, weights: Mapping[str, Tensor], method: Method | None) -> None:
    """Refuse weights that do not fit in memory. `method` converts them to another grid; None means another patch size."""
    memory = total_memory()
    num_bytes = num_parameters(new) * max(weight.element_size() for weight in weights.values())
    if memory is not None and num_bytes > memory / 2:
        height, width = new.image_size
        how = f"patches of {new.patch_size} × {new.patch_size}" if method is None else f"method {method!r}"
        raise ConfigError(
            f"image_size {height} × {width} with {how}: the weights would take {num_bytes / 1e9:,.0f} GB, more than half of "
            f"the {memory / 1e9:,.0f} GB of memory available to this process. Choose a smaller size."
            + (" Method 'resample' needs less memory." if method == "block" else "")
        )


def interpolation(old: tuple[int, int], new: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Return float64 matrices (h', h) and (w', w) that resample a map (h, w) linearly: along_height @ map @ along_width.T.

    Values are interpolated between cell centres, and the edge is repeated beyond them. When an axis shrinks, a triangle filter
    covers all cells (antialiasing). The matrix of an axis that keeps its length is the identity; all rows sum to 1.
    """
    along_height, along_width = (_interpolation_along_axis(*sides) for sides in zip(old, new, strict=True))
    return along_height, along_width


def _interpolation_along_axis(old: int, new: int) -> Tensor:
    ratio = old / new
    radius = max(ratio, 1.0)  # of the triangle, in old cells
    centres = (torch.arange(new, dtype=torch.float64) + 0.5) * ratio - 0.5
    if ratio <= 1.0:
        centres = centres.clamp(0, old - 1)  # the edge is repeated
    distances = (centres[:, None] - torch.arange(old, dtype=torch.float64)[None]).abs()  # (new, old)
    triangle = (1 - distances / radius).clamp(min=0)
    return triangle / triangle.sum(dim=1, keepdim=True)


def _damped_inverse(along: Tensor) -> Tensor:
    """Return the damped pseudo-inverse (old, new) of an interpolation (new, old) along one axis; rows sum to 1."""
    new, old = along.shape
    damping = _DAMPING * new / old * torch.eye(old, dtype=along.dtype)
    inverse = torch.linalg.solve(along.mT @ along + damping, along.mT)
    damped: Tensor = inverse / inverse.sum(dim=1, keepdim=True)
    return damped


def _resample(rows: Tensor, matrices: tuple[Tensor, Tensor]) -> Tensor:
    """Resample rows (..., h w), each a map on a grid, to (..., h' w') by matrices (h', h) and (w', w)."""
    along_height, along_width = matrices
    maps = rows.double().reshape(*rows.shape[:-1], along_height.shape[1], along_width.shape[1])  # (..., h, w)
    resampled: Tensor = (along_height @ maps @ along_width.mT).flatten(-2)
    return resampled.to(rows.dtype)


def _factors(config: MixerConfig, new: MixerConfig) -> tuple[int, int]:
    old_size, new_size = config.image_size, new.image_size
    if any(side % old for side, old in zip(new_size, old_size, strict=True)):
        nearest = [
            sorted({max(side // old, 1) * old, -(-side // old) * old})
            for side, old in zip(new_size, old_size, strict=True)
        ]
        raise ConfigError(
            f"image_size {new_size[0]} × {new_size[1]} is not a multiple of {old_size[0]} × {old_size[1]}, which "
            f"method 'block' (appendix C) requires. Nearest heights: {_either(nearest[0])}; nearest widths: "
            f"{_either(nearest[1])}. Method 'resample' takes any multiple of the patch size."
        )
    return new_size[0] // old_size[0], new_size[1] // old_size[1]


def _either(sides: list[int]) -> str:
    return " or ".join(map(str, sides))


def _parts(grid: tuple[int, int], factors: tuple[int, int]) -> list[Tensor]:
    """Return, for each of the a × b parts of the new grid in row-major order, the indices of its S tokens."""
    (h, w), (a, b) = grid, factors
    indices = torch.arange(a * h * b * w).reshape(a, h, b, w).permute(0, 2, 1, 3)  # (a, b, h, w)
    return list(indices.reshape(a * b, h * w))


def _repeat(values: Tensor, parts: list[Tensor]) -> Tensor:  # (S, ...) -> (S', ...)
    repeated = values.new_empty(len(parts) * len(values), *values.shape[1:])
    for part in parts:
        repeated[part] = values
    return repeated


def _block_diagonal(weight: Tensor, parts: list[Tensor]) -> Tensor:  # (S, D_S) -> (S', D_S')
    """Return one copy of `weight` per part, from the part's own hidden units to its tokens: block-diagonal up to row order."""
    tokens, hidden = weight.shape
    blocks = weight.new_zeros(len(parts) * tokens, len(parts) * hidden)
    for index, part in enumerate(parts):
        blocks[part, index * hidden : (index + 1) * hidden] = weight
    return blocks
