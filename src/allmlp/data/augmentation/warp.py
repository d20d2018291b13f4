"""Augmentation applied to tensors: each sample's own crop, scale, shift and flip as two small matrix products.

A resampled axis is a linear map of the photo's axis, so each sample has a matrix of filter weights for its rows and one for
its columns, and a whole batch is two batched products on whatever device the photos are on. The weights are those of
Pillow's antialiased resize with a box (src/libImaging/Resample.c): the filter is widened by the scale when shrinking.
"""

from collections.abc import Callable
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from allmlp.data.augmentation.crops import Crops
from allmlp.data.augmentation.mixing import Mix
from allmlp.data.augmentation.random_erasing import Erasures

__all__ = ["apply_on_uint8", "color_jitter", "erase_images", "mix_images", "mix_labels", "resample"]


def resample(
    photos: Tensor,
    photo_sizes: Tensor,
    crops: Crops,
    *,
    image_size: tuple[int, int],
    interpolation: Literal["bilinear", "bicubic"],
    mean: tuple[float, float, float],
    std: tuple[float, float, float],
) -> Tensor:
    """Cut, scale, mirror and normalise a batch of photos.

    Args:
        photos: (B, Hp, Wp, 3) uint8; photos smaller than Hp × Wp are in the upper left corner.
        photo_sizes: (B, 2) int64, height and width of each photo.
        crops: what each sample shows; outside of the photo is the mean colour.
        image_size: (H, W) of the result.
        interpolation: the filter.
        mean, std: of each channel, for pixels in [0, 1].

    Returns:
        (B, 3, H, W) float32 on the photos' device.
    """
    device = photos.device
    boxes = torch.from_numpy(crops.boxes).to(device, torch.float32)
    flips = torch.from_numpy(crops.flips).to(device)
    sizes = photo_sizes.to(device, torch.float32)
    columns = _weights(boxes[:, 0], boxes[:, 2], sizes[:, 1], image_size[1], photos.shape[2], interpolation)
    rows = _weights(boxes[:, 1], boxes[:, 3], sizes[:, 0], image_size[0], photos.shape[1], interpolation)
    columns = torch.where(flips[:, None, None], columns.flip(1), columns)
    # The mean goes first, so that what is outside the photo (all weights zero) is the mean colour.
    centre = torch.tensor(mean, device=device)[:, None, None] * 255.0
    scale = torch.tensor(std, device=device)[:, None, None] * 255.0
    pixels = (photos.permute(0, 3, 1, 2).to(torch.float32) - centre) / scale  # (B, 3, Hp, Wp)
    return rows[:, None] @ (pixels @ columns[:, None].mT)  # (B, 3, H, W)


def _weights(start: Tensor, length: Tensor, size: Tensor, out: int, canvas: int, interpolation: str) -> Tensor:
    """Return (B, out, canvas): the weight of each pixel of the photo's axis in each pixel of the result."""
    scale = (length / out)[:, None]  # photo pixels in one output pixel
    centres = start[:, None] + (torch.arange(out, device=start.device) + 0.5) * scale  # (B, out)
    widening = scale.clamp(min=1.0)[:, :, None]
    pixels = torch.arange(canvas, device=start.device)
    distance = (pixels + 0.5 - centres[:, :, None]) / widening
    weights = _triangle(distance) if interpolation == "bilinear" else _cubic(distance)
    weights = weights * (pixels < size[:, None, None])
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
    """Change the colours of normalised (B, 3, H, W) images as `draw_colors` decided.

    Pixels stay in [0, 1] before normalisation; `colors` is (B, 3, 4), or None for no change.
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
    """Round normalised (B, 3, H, W) images to (B, H, W, 3) uint8, `change` them on the processor, and normalise again."""
    centre = torch.tensor(mean, device=images.device) * 255.0
    scale = torch.tensor(std, device=images.device) * 255.0
    pixels = (images.permute(0, 2, 3, 1) * scale + centre).round().clamp(0.0, 255.0).to(torch.uint8)
    changed = torch.from_numpy(change(pixels.cpu().numpy())).to(images.device)
    return ((changed - centre) / scale).permute(0, 3, 1, 2).contiguous()


def erase_images(images: Tensor, erasures: Erasures | None) -> Tensor:
    """Fill each image's rectangle with its noise; `images` is (B, 3, H, W), normalised."""
    if erasures is None:
        return images
    images = images.clone()
    for index in np.flatnonzero(erasures.areas()).tolist():
        top, bottom, left, right = erasures.rectangles[index]
        images[index, :, top:bottom, left:right] = torch.from_numpy(erasures.noise(index)).to(images.device)
    return images


def mix_images(images: Tensor, mix: Mix | None, *, before: Tensor | None = None) -> Tensor:
    """Mix (B, 3, H, W) images each with the one before it as `mix` says; the first with `before` (1, 3, H, W).

    `before` None is the last image: the whole batch is here.
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
    """Mix (B, K) label rows in the same shares, then spread `smoothing` evenly over the classes."""
    if mix is not None:
        shares = torch.from_numpy(mix.shares).to(labels.device)[:, None]
        previous = torch.cat([labels[-1:] if before is None else before, labels[:-1]])
        labels = torch.lerp(previous, labels, shares.expand_as(labels))
    return labels * (1.0 - smoothing) + smoothing / labels.shape[1]
