"""Mixup and CutMix: labels have the shares of the pixels."""

import numpy as np
import pytest
import torch

from allmlp.data import Augmentation
from allmlp.data.augmentation.mixing import draw_mix
from allmlp.data.augmentation.warp import mix_images, mix_labels


@pytest.mark.parametrize(("mixup", "cutmix"), [(0.2, 0.0), (0.0, 1.0), (0.8, 1.0)])
def test_a_mixed_label_has_the_share_of_the_pixels(mixup: float, cutmix: float) -> None:
    # Photo i is painted with the number i: the mean of a mixed photo then tells the shares of its two sources.
    count = 64
    images = torch.arange(count, dtype=torch.float64)[:, None, None, None].expand(-1, 3, 32, 24)
    mix = draw_mix(Augmentation(mixup=mixup, cutmix=cutmix), seed=1, step=7, batch_size=count, image_size=(32, 24))
    mixed = mix_images(images, mix).mean(dim=(1, 2, 3))
    labels = mix_labels(torch.eye(count), mix, smoothing=0.0)
    assert torch.allclose(mixed, (labels.double() * torch.arange(count)).sum(dim=1), atol=1e-4)
    assert torch.allclose(labels.sum(dim=1), torch.ones(count), atol=1e-6)
    assert ((labels > 0).sum(dim=1) == 2).float().mean() > 0.8


def test_mixing_is_a_function_of_seed_and_step() -> None:
    draw = {"batch_size": 8, "image_size": (8, 8)}
    both = Augmentation(mixup=0.3, cutmix=1.0)
    first, again = (draw_mix(both, seed=3, step=5, **draw) for _ in range(2))
    assert all(np.array_equal(one, two) for one, two in zip(first, again, strict=True))
    for seed, step in [(3, 6), (4, 5)]:
        assert not np.array_equal(first.shares, draw_mix(both, seed=seed, step=step, **draw).shares)


def test_mix_probability_is_the_share_of_mixed_samples() -> None:
    mix = draw_mix(Augmentation(cutmix=1.0, mix_probability=0.25), seed=0, step=0, batch_size=8000, image_size=(64, 64))
    assert abs((mix.shares < 1).mean() - 0.25) < 0.02
    assert draw_mix(Augmentation(), seed=0, step=0, batch_size=8, image_size=(64, 64)) is None


def test_label_smoothing_spreads_evenly() -> None:
    labels = mix_labels(torch.eye(4), None, smoothing=0.2)
    assert torch.allclose(labels, torch.eye(4) * 0.8 + 0.05)
