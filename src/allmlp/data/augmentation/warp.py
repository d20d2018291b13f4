"""Augmentation of tensors: the crop, scale, shift and flip of each sample as two small matrix products, and other operations.

Resampling an axis is a linear map, so each sample has one matrix of filter weights for its rows and one for its columns, and a
whole batch takes two batched matrix products on the device of the images. The weights are those of Pillow's antialiased resize
with a box (src/libImaging/Resample.c): the filter is widened by the scale when shrinking. Without antialiasing, they are those
of `tf.image.resize`: each pixel of the result is interpolated from the pixels around its centre.
"""

from collections.abc import Callable
from typing import Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from allmlp.data.augmentation.crops import Crops
from allmlp.data.augmentation.mixing import Mix
from allmlp.data.augmentation.random_erasing import Erasures

__all__ = ["apply_on_uint8", "color_jitter", "erase_images", "mix_images", "mix_labels", "resample", "truncate_levels"]


def resample(
    images: Tensor,
    sizes: Tensor,
    crops: Crops,
    *,
    image_size: tuple[int, int],
    interpolation: Literal["bilinear", "bicubic"],
    antialias: bool = True,
    is_cut: bool = False,
    mean: tuple[float, float, float],
    std: tuple[float, float, float],
) -> Tensor:
    """Crop, scale, mirror and normalise a batch of images.

    Args:
        images: (B, Hp, Wp, 3) uint8; images smaller than Hp × Wp are in the upper left corner.
        sizes: (B, 2) int64, height and width of each image.
        crops: the crop of each image; areas outside of the image get the mean colour.
        image_size: (H, W) of the result.
        interpolation: the filter.
        antialias: whether the filter is widened when shrinking.
        is_cut: whether crops are cut out before they are scaled, so that no pixel outside of a crop has any weight; for boxes
            in whole pixels.
        mean, std: per channel, for pixels in [0, 1].

    Returns:
        (B, 3, H, W) float32 on the device of `images`.
    """
    device = images.device
    boxes = torch.from_numpy(crops.boxes).to(device, torch.float32)
    flips = torch.from_numpy(crops.flips).to(device)
    sizes = sizes.to(device, torch.float32)
    chosen = _Filter(interpolation, antialias, is_cut)
    columns = _weights(boxes[:, 0], boxes[:, 2], sizes[:, 1], image_size[1], images.shape[2], chosen)
    rows = _weights(boxes[:, 1], boxes[:, 3], sizes[:, 0], image_size[0], images.shape[1], chosen)
    columns = torch.where(flips[:, None, None], columns.flip(1), columns)
    # The mean is subtracted first, so that areas outside of the image (all weights zero) get the mean colour.
    centre = torch.tensor(mean, device=device)[:, None, None] * 255.0
    scale = torch.tensor(std, device=device)[:, None, None] * 255.0
    pixels = (images.permute(0, 3, 1, 2).to(torch.float32) - centre) / scale  # (B, 3, Hp, Wp)
    return rows[:, None] @ (pixels @ columns[:, None].mT)  # (B, 3, H, W)


class _Filter(NamedTuple):
    interpolation: Literal["bilinear", "bicubic"]
    antialias: bool
    is_cut: bool


def _weights(start: Tensor, length: Tensor, size: Tensor, out: int, canvas: int, chosen: _Filter) -> Tensor:
    """Return (B, out, canvas): the weight of each input pixel along an axis in each pixel of the result."""
    scale = (length / out)[:, None]  # input pixels per output pixel
    centres = start[:, None] + (torch.arange(out, device=start.device) + 0.5) * scale  # (B, out)
    pixels = torch.arange(canvas, device=start.device)
    distance = pixels + 0.5 - centres[:, :, None]
    if chosen.antialias:
        distance = distance / scale.clamp(min=1.0)[:, :, None]
    weights = _triangle(distance) if chosen.interpolation == "bilinear" else _cubic(distance)
    weights = weights * (pixels < size[:, None, None])
    if chosen.is_cut:
        weights = weights * ((pixels >= start[:, None, None]) & (pixels < (start + length)[:, None, None]))
    inside = (centres >= 0) & (centres <= size[:, None])
    return weights * inside[:, :, None] / weights.sum(dim=2, keepdim=True).clamp(min=1e-6)


def _triangle(distance: Tensor) -> Tensor:
    return (1.0 - distance.abs()).clamp(min=0.0)


def _cubic(distance: Tensor) -> Tensor:
    a = -0.5  # Catmull-Rom, Pillow's BICUBIC
    x = distance.abs().clamp(max=2.0)
    near = ((a + 2.0) * x - (a + 3.0)) * x * x + 1.0
    far = (((x - 5.0) * x + 8.0) * x - 4.0) * a
    return torch.where(x < 1.0, near, far)


def color_jitter(
    images: Tensor,
    colors: NDArray[np.float32] | None,
    *,
    mean: tuple[float, float, float],
    std: tuple[float, float, float],
) -> Tensor:
    """Apply the result of `draw_colors` to normalised images (B, 3, H, W).

    Before normalisation, pixels are clamped to [0, 1]. `colors` is (B, 3, 4), or None for no change.
    """
    if colors is None:
        return images
    matrices = torch.from_numpy(colors).to(images.device)
    centre = torch.tensor(mean, device=images.device)[:, None]
    scale = torch.tensor(std, device=images.device)[:, None]
    pixels = images.flatten(2) * scale + centre  # (B, 3, H·W)
    pixels = torch.baddbmm(matrices[:, :, 3:], matrices[:, :, :3], pixels).clamp(0.0, 1.0)
    return ((pixels - centre) / scale).view_as(images)


def apply_on_uint8(
    images: Tensor,
    change: Callable[[NDArray[np.uint8]], NDArray[np.uint8]],
    *,
    mean: tuple[float, float, float],
    std: tuple[float, float, float],
) -> Tensor:
    """Round normalised images (B, 3, H, W) to (B, H, W, 3) uint8, apply `change` on the CPU, and normalise again."""
    centre = torch.tensor(mean, device=images.device) * 255.0
    scale = torch.tensor(std, device=images.device) * 255.0
    pixels = (images.permute(0, 2, 3, 1) * scale + centre).round().clamp(0.0, 255.0).to(torch.uint8)
    changed = torch.from_numpy(change(pixels.cpu().numpy())).to(images.device)
    return ((changed - centre) / scale).permute(0, 3, 1, 2).contiguous()


def truncate_levels(images: Tensor, *, mean: tuple[float, float, float], std: tuple[float, float, float]) -> Tensor:
    """Round normalised images (B, 3, H, W) down to whole levels of 0 to 255, in place, as a cast to uint8 does."""
    centre = torch.tensor(mean, device=images.device)[:, None, None] * 255.0
    scale = torch.tensor(std, device=images.device)[:, None, None] * 255.0
    # A thousandth of a level, so that rounding of the products does not lower values that are whole.
    images.mul_(scale).add_(centre + 1e-3).floor_().clamp_(0.0, 255.0)
    return images.sub_(centre).div_(scale)


def erase_images(images: Tensor, erasures: Erasures | None) -> Tensor:
    """Fill the rectangle of each image with its noise. `images` is (B, 3, H, W), normalised."""
    if erasures is None:
        return images
    images = images.clone()
    for index in np.flatnonzero(erasures.areas()).tolist():
        top, bottom, left, right = erasures.rectangles[index]
        images[index, :, top:bottom, left:right] = torch.from_numpy(erasures.noise(index)).to(images.device)
    return images


def mix_images(images: Tensor, mix: Mix | None, *, before: Tensor | None = None) -> Tensor:
    """Mix each image of (B, 3, H, W) with the previous one as given by `mix`, and the first with `before` (1, 3, H, W).

    `before` is None if `images` is the whole batch: the first is then mixed with the last.
    """
    if mix is None:
        return images
    previous = torch.cat([images[-1:] if before is None else before, images[:-1]])
    top, bottom, left, right = (
        edge.to(images.device)[:, None, None, None] for edge in torch.from_numpy(mix.rectangles).T
    )
    row = torch.arange(images.shape[2], device=images.device)[:, None]
    column = torch.arange(images.shape[3], device=images.device)
    cut = (row >= top) & (row < bottom) & (column >= left) & (column < right)  # (B, 1, H, W)
    has_cut = (bottom > top) & (right > left)
    shares = torch.from_numpy(mix.shares).to(images.device)[:, None, None, None]
    weights = torch.where(has_cut, (~cut).to(images.dtype), shares.to(images.dtype))
    return torch.lerp(previous, images, weights.expand_as(images))


def mix_labels(labels: Tensor, mix: Mix | None, *, smoothing: float, before: Tensor | None = None) -> Tensor:
    """Mix label rows (B, K) with the same weights, then spread `smoothing` evenly over the classes."""
    if mix is not None:
        shares = torch.from_numpy(mix.shares).to(labels.device)[:, None]
        previous = torch.cat([labels[-1:] if before is None else before, labels[:-1]])
        labels = torch.lerp(previous, labels, shares.expand_as(labels))
    return labels * (1.0 - smoothing) + smoothing / labels.shape[1]
