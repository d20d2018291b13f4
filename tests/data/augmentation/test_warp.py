"""Augmented pixels: Pillow, whose antialiased resize we did not write, is the oracle."""

import numpy as np
import pytest
import torch
from PIL import Image

from allmlp.data import Augmentation
from allmlp.data.augmentation.color import draw_colors
from allmlp.data.augmentation.crops import Crops, draw_crops
from allmlp.data.augmentation.mixing import draw_mix
from allmlp.data.augmentation.warp import color_jitter, mix_images, mix_labels, resample

FILTERS = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}
PLAIN = {"mean": (0.0, 0.0, 0.0), "std": (1.0, 1.0, 1.0)}


def photos(*sizes, seed=0):
    """Smooth random photos, so that a filter's rounding shows and aliasing does not hide it."""
    generator = np.random.default_rng(seed)
    return [
        np.asarray(Image.fromarray(generator.integers(0, 256, (9, 9, 3), dtype=np.uint8)).resize((width, height), 3))
        for height, width in sizes
    ]


def canvas(parts):
    sizes = np.array([part.shape[:2] for part in parts])
    stacked = np.full((len(parts), *sizes.max(axis=0), 3), 255, dtype=np.uint8)  # rubbish outside of the photos
    for row, part in zip(stacked, parts, strict=True):
        row[: part.shape[0], : part.shape[1]] = part
    return torch.from_numpy(stacked), torch.from_numpy(sizes)


@pytest.mark.parametrize("interpolation", FILTERS)
@pytest.mark.parametrize("image_size", [(24, 24), (20, 32), (90, 70)])
def test_resample_equals_pillow_with_a_box(interpolation, image_size):
    parts = photos((64, 64), (48, 80), (50, 33), (64, 80))
    boxes = np.array([[0, 0, 64, 64], [10.25, 3.5, 41.3, 30.7], [2.0, 5.0, 20.0, 40.0], [30.5, 20.1, 45.2, 40.3]])
    flips = np.array([False, True, False, True])
    pixels, sizes = canvas(parts)
    got = resample(pixels, sizes, Crops(boxes, flips), image_size=image_size, interpolation=interpolation, **PLAIN)
    for part, (left, top, width, height), flip, mine in zip(parts, boxes, flips, got.numpy(), strict=True):
        wanted = np.asarray(
            Image.fromarray(part).resize(
                image_size[::-1], FILTERS[interpolation], box=(left, top, left + width, top + height)
            )
        ).astype(float)
        wanted = wanted[:, ::-1] if flip else wanted
        # Pillow rounds to whole grey levels twice (after columns, after rows) and clips; we do neither.
        assert np.abs(mine.transpose(1, 2, 0).clip(0, 1) * 255 - wanted).max() < 1.6


@pytest.mark.parametrize("interpolation", FILTERS)
def test_the_whole_photo_at_its_own_size_is_untouched(interpolation):
    (part,) = photos((32, 32))
    pixels, sizes = canvas([part])
    whole = Crops(np.array([[0.0, 0.0, 32.0, 32.0]]), np.array([False]))
    got = resample(pixels, sizes, whole, image_size=(32, 32), interpolation=interpolation, **PLAIN)
    assert np.array_equal(np.round(got[0].numpy().transpose(1, 2, 0) * 255), part)


def test_a_shift_moves_pixels_exactly_and_fills_with_the_mean_colour():
    (part,) = photos((32, 32))
    pixels, sizes = canvas([part])
    shifted = Crops(np.array([[3.0, -2.0, 32.0, 32.0]]), np.array([False]))
    got = resample(
        pixels, sizes, shifted, image_size=(32, 32), interpolation="bicubic", mean=(0.5, 0.4, 0.3), std=(0.2, 0.2, 0.2)
    )
    wanted = (part.transpose(2, 0, 1) / 255 - np.array([0.5, 0.4, 0.3])[:, None, None]) / 0.2
    assert np.allclose(got[0, :, 2:, :-3], wanted[:, :-2, 3:], atol=1e-5)
    assert torch.all(got[0, :, :2] == 0.0)
    assert torch.all(got[0, :, :, -3:] == 0.0)


def test_a_sample_does_not_depend_on_its_neighbours():
    parts = photos((40, 40), (60, 30), (33, 64))
    crops = Crops(np.array([[1.5, 2.5, 30, 30], [0, 0, 30, 60], [5, 5, 50, 20.0]]), np.array([True, False, True]))
    options = {"image_size": (16, 16), "interpolation": "bicubic", **PLAIN}
    together = resample(*canvas(parts), crops, **options)
    for index, part in enumerate(parts):
        alone = resample(*canvas([part]), Crops(crops.boxes[[index]], crops.flips[[index]]), **options)
        assert torch.allclose(alone[0], together[index], atol=1e-6)


def test_inception_crops_lie_in_the_photo_and_have_the_areas_and_ratios_of_the_definition():
    draws = np.random.default_rng(0).random((20_000, 23))
    sizes = np.tile([90, 120], (20_000, 1))
    crop = Augmentation(crop="inception", min_crop_area=0.25, flip=True)
    boxes, flips = draw_crops(crop, draws, sizes, image_size=(64, 64), fit="crop")
    left, top, width, height = boxes.T
    assert (left >= 0).all() and (top >= 0).all()
    assert (left + width <= 120 + 1e-9).all() and (top + height <= 90 + 1e-9).all()
    area, ratio = width * height / (90 * 120), width / height
    assert area.min() >= 0.25 and area.max() <= 1.0
    assert ratio.min() >= 0.75 - 1e-9 and ratio.max() <= 4 / 3 + 1e-9
    assert abs(flips.mean() - 0.5) < 0.02


def test_a_panorama_falls_back_to_the_largest_permitted_centre():
    crop = Augmentation(crop="inception", min_crop_area=0.9)
    boxes, _ = draw_crops(crop, np.full((1, 23), 0.5), np.array([[10, 1000]]), image_size=(64, 64), fit="crop")
    left, top, width, height = boxes[0]
    assert (top, height) == (0.0, 10.0)
    assert width == pytest.approx(10 * 4 / 3)
    assert left + width / 2 == pytest.approx(500)


def test_a_pad_crop_shifts_by_whole_output_pixels_up_to_its_reach():
    crop = Augmentation(crop="pad", pad_pixels=4)
    draws = np.random.default_rng(0).random((5000, 23))
    boxes, _ = draw_crops(crop, draws, np.tile([64, 64], (5000, 1)), image_size=(32, 32), fit="crop")
    shifts = boxes[:, :2] / 2  # two photo pixels an output pixel
    assert set(np.unique(shifts)) == set(range(-4, 5))


@pytest.mark.parametrize(("mixup", "cutmix"), [(0.2, 0.0), (0.0, 1.0), (0.8, 1.0)])
def test_a_mixed_label_has_the_share_of_the_pixels(mixup, cutmix):
    # Photo i is painted with the number i: the mean of a mixed photo then tells the shares of its two sources.
    count = 64
    images = torch.arange(count, dtype=torch.float64)[:, None, None, None].expand(-1, 3, 32, 24)
    mix = draw_mix(Augmentation(mixup=mixup, cutmix=cutmix), seed=1, step=7, batch_size=count, image_size=(32, 24))
    mixed = mix_images(images, mix).mean(dim=(1, 2, 3))
    labels = mix_labels(torch.eye(count), mix, smoothing=0.0)
    assert torch.allclose(mixed, (labels.double() * torch.arange(count)).sum(dim=1), atol=1e-4)
    assert torch.allclose(labels.sum(dim=1), torch.ones(count), atol=1e-6)
    assert ((labels > 0).sum(dim=1) == 2).float().mean() > 0.8


def test_mixing_is_a_function_of_seed_and_step():
    draw = {"batch_size": 8, "image_size": (8, 8)}
    both = Augmentation(mixup=0.3, cutmix=1.0)
    first, again = (draw_mix(both, seed=3, step=5, **draw) for _ in range(2))
    assert all(np.array_equal(one, two) for one, two in zip(first, again, strict=True))
    for seed, step in [(3, 6), (4, 5)]:
        assert not np.array_equal(first.shares, draw_mix(both, seed=seed, step=step, **draw).shares)


def test_mix_probability_is_the_share_of_mixed_samples():
    mix = draw_mix(Augmentation(cutmix=1.0, mix_probability=0.25), seed=0, step=0, batch_size=8000, image_size=(64, 64))
    assert abs((mix.shares < 1).mean() - 0.25) < 0.02
    assert draw_mix(Augmentation(), seed=0, step=0, batch_size=8, image_size=(64, 64)) is None


def test_label_smoothing_spreads_evenly():
    labels = mix_labels(torch.eye(4), None, smoothing=0.2)
    assert torch.allclose(labels, torch.eye(4) * 0.8 + 0.05)


def recolored(pixels, **strengths):
    """Recolour one (n, 3) list of pixels in [0, 1] with the largest draws."""
    colors = draw_colors(Augmentation(**strengths), np.full((1, 4), 1.0))
    images = torch.tensor(pixels, dtype=torch.float32).T[None, :, None]
    return color_jitter(images, colors, **PLAIN)[0, :, 0].T.numpy()


def test_hue_turns_keep_grey_and_a_third_of_the_circle_is_about_the_next_primary():
    import colorsys

    assert np.allclose(recolored([[0.3, 0.3, 0.3]], hue_jitter=0.3), 0.3, atol=1e-4)
    before = [0.6, 0.4, 0.4]
    (after,) = recolored([before], hue_jitter=1 / 3)
    turned = (colorsys.rgb_to_hsv(*after)[0] - colorsys.rgb_to_hsv(*before)[0]) % 1.0
    assert min(abs(turned - 1 / 3), abs(turned - 2 / 3)) < 0.06  # YIQ's circle is not quite HSV's hexagon


def test_contrast_brightness_and_saturation_are_what_the_docstring_says():
    # The largest draws: contrast and saturation × 1.4, brightness + 0.2; grey has no saturation.
    assert np.allclose(recolored([[0.5, 0.5, 0.5]], color_jitter=0.4), 0.7, atol=1e-4)
    assert np.allclose(recolored([[0.4, 0.4, 0.4]], color_jitter=0.4), 0.5 - 0.14 + 0.2, atol=1e-4)
    assert recolored([[1.0, 1.0, 1.0]], color_jitter=0.4).max() == 1.0  # stays a pixel
    assert draw_colors(Augmentation(), np.zeros((3, 4))) is None


@pytest.mark.parametrize("fit", ["crop", "squash", "pad"])
@pytest.mark.parametrize("crop_fraction", [1.0, 0.875])
def test_without_augmentation_training_sees_what_evaluation_sees(fit, crop_fraction):
    from allmlp.data import Preprocessing

    # Scales to whole pixels, so that evaluation has no size to round.
    (part,) = photos((60, 120) if fit == "pad" else (80, 120))
    pixels, sizes = canvas([part])
    size = {"image_size": (28, 28), "fit": fit, "crop_fraction": 1.0 if fit == "pad" else crop_fraction}
    crops = draw_crops(Augmentation(), np.zeros((1, 23)), sizes.numpy(), **size)
    evaluation = Preprocessing(**size, interpolation="bicubic")
    options = {"image_size": (28, 28), "interpolation": "bicubic", "mean": evaluation.mean, "std": evaluation.std}
    training = resample(pixels, sizes, crops, **options)[0].numpy()
    # Evaluation rounds to grey levels, of 2 / 255 in these units, twice, and clips; the edge of a crop may see beyond it.
    assert np.abs(training.clip(-1, 1) - evaluation(part)).mean() < 0.01
