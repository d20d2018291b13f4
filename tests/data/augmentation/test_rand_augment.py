"""RandAugment: the authors' outputs and timm's functions, neither of which we wrote, are the oracles."""

import random
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from tests.builders import GOLDEN

import allmlp
from allmlp import ConfigError
from allmlp.data import Augmentation, decode, open_dataset, sample_keys, uniform
from allmlp.data.augmentation.rand_augment import (
    NUM_DISTORTION_DRAWS,
    OPERATIONS,
    STRENGTHS,
    Distortions,
    check_timm,
    distort,
    draw_distortions,
)
from allmlp.errors import MissingExtraError

# By hand from the authors' code: what an operation takes at magnitudes 5, 10, 15 and 20. Rotate in degrees; the threshold of
# Solarize is 128, 256, 384 and 512 there, of which a comparison with bytes keeps the last 8 bits.
AUTHORS_STRENGTHS = {
    "Rotate": (15.0, 30.0, 45.0, 60.0),
    "Posterize": (2, 4, 6, 8),
    "Solarize": (128, 0, 128, 0),
    "SolarizeAdd": (55, 110, 165, 220),
    "Color": (1.0, 1.9, 2.8, 3.7),
    "Contrast": (1.0, 1.9, 2.8, 3.7),
    "Brightness": (1.0, 1.9, 2.8, 3.7),
    "Sharpness": (1.0, 1.9, 2.8, 3.7),
    "ShearX": (0.15, 0.3, 0.45, 0.6),
    "ShearY": (0.15, 0.3, 0.45, 0.6),
    "TranslateX": (50.0, 100.0, 150.0, 200.0),
    "TranslateY": (50.0, 100.0, 150.0, 200.0),
    "Cutout": (20, 40, 60, 80),
}

# How far from the authors' outputs, in grey levels: (the largest difference, the share of values that differ).
EXACT = (0, 0.0)
TOLERANCES = {
    "AutoContrast": (1, 0.01),  # Pillow computes with doubles
    "Color": (3, 0.5),  # Pillow rounds the grey, they cut it; a factor of 3.7 makes 3 levels of one
    "Sharpness": (3, 0.5),  # likewise, of the smoothed image
    "Rotate": (255, 0.001),  # the nearest of two pixels equally near
    "ShearX": (255, 0.3),  # see test_shears_are_the_authors_half_a_pixel_up_or_left
    "ShearY": (255, 0.3),
}


@pytest.fixture(scope="module")
def photos() -> list[np.ndarray]:
    split = open_dataset("clothing").splits["train"]
    return [decode(split.read(index), name="") for index in range(0, 1000, 125)]


@pytest.fixture(scope="module")
def golden() -> dict[str, np.ndarray]:
    with np.load(GOLDEN / "rand_augment_expected.npz") as file:
        return dict(file)


def through(
    photo: NDArray[np.uint8],
    operation: str,
    *,
    magnitude: float = 15.0,
    sign: float = 1.0,
    place: Sequence[float] = (0.5, 0.5),
) -> NDArray[np.uint8]:
    chosen = np.array([[OPERATIONS.index(operation)]])
    distortions = Distortions(chosen, np.array([[sign]]), np.array([[place]]), magnitude / 10)
    return distort(photo[None], distortions)[0]


def test_the_scale_is_the_authors() -> None:
    assert STRENGTHS.keys() == AUTHORS_STRENGTHS.keys()
    assert set(OPERATIONS) - STRENGTHS.keys() == {"AutoContrast", "Equalize", "Invert"}
    assert len(OPERATIONS) == 16
    for operation, wanted in AUTHORS_STRENGTHS.items():
        assert [STRENGTHS[operation](magnitude / 10) for magnitude in (5, 10, 15, 20)] == pytest.approx(wanted)


@pytest.mark.parametrize("operation", [operation for operation in OPERATIONS if operation != "Cutout"])
def test_an_operation_gives_the_authors_pixels(operation: str, golden: dict[str, NDArray[np.uint8]]) -> None:
    names = [name for name in golden if name.startswith(f"{operation}/")]
    assert len(names) in (1, 4, 8)
    largest, share = TOLERANCES.get(operation, EXACT)
    for name in names:
        _, magnitude, sign = name.split("/")
        mine = through(golden["image"], operation, magnitude=float(magnitude), sign=1.0 if sign == "+" else -1.0)
        differences = np.abs(mine[3::12, 3::12].astype(int) - golden[name])
        assert differences.max() <= largest, name
        assert (differences > 0).mean() <= share, name


@pytest.mark.parametrize("operation", ["ShearX", "ShearY"])
def test_shears_are_the_authors_half_a_pixel_up_or_left(operation: str, golden: dict[str, NDArray[np.uint8]]) -> None:
    """Pillow counts from a pixel's upper left corner, they from its centre: half of the shear, in pixels, between them."""
    for magnitude in (5, 10, 15, 20):
        for sign in (1, -1):
            factor = sign * 0.03 * magnitude
            offset = 1e-3 - factor / 2  # a thousandth: of two pixels equally near they take the later one
            affine = (1, factor, offset, 0, 1, 0) if operation == "ShearX" else (1, 0, 0, factor, 1, offset)
            image = Image.fromarray(golden["image"])
            moved = image.transform(image.size, Image.Transform.AFFINE, affine, fillcolor=(128, 128, 128))
            differences = np.asarray(moved)[3::12, 3::12] != golden[f"{operation}/{magnitude}/{'+-'[sign < 0]}"]
            assert differences.mean() < 0.02  # at the border: what is just outside is grey for one of the two


def test_cutout_is_the_authors_square(golden: dict[str, NDArray[np.uint8]]) -> None:
    black = np.zeros_like(golden["image"])
    wanted = [value for name, value in golden.items() if name.startswith("Cutout/")]
    assert len(wanted) == 6
    for top, bottom, left, right in wanted:
        centre = [end - 60 if start == 0 else start + 60 for start, end in ((top, bottom), (left, right))]
        mine = through(black, "Cutout", place=[(value + 0.5) / 224 for value in centre])
        cut = np.zeros_like(black)
        cut[top:bottom, left:right] = 128
        assert np.array_equal(mine, cut)


# What timm's RandAugment has; its own scale is the authors' below a magnitude of 10 but for translations.
TIMM = [name for name in OPERATIONS if name not in ("Cutout", "Contrast")]


@pytest.mark.parametrize("magnitude", [2.5, 5.0, 9.9])
@pytest.mark.parametrize("operation", TIMM)
def test_an_operation_gives_the_bits_of_timms_own(
    operation: str, magnitude: float, photos: list[NDArray[np.uint8]]
) -> None:
    from timm.data.auto_augment import AugmentOp

    translates = operation.startswith("Translate")
    options = {"interpolation": Image.Resampling.NEAREST, "img_mean": (128, 128, 128), "translate_pct": 100 / 224}
    timms = AugmentOp(operation + "Rel" * translates, prob=1.0, magnitude=magnitude, hparams=options)
    state = random.getstate()
    try:
        for number, photo in enumerate(photos):
            random.seed(number)
            wanted = np.asarray(timms(Image.fromarray(photo)))
            random.seed(number)
            sign = -1.0 if random.random() > 0.5 else 1.0
            assert np.array_equal(through(photo, operation, magnitude=magnitude, sign=sign), wanted)
    finally:
        random.setstate(state)


def test_a_translation_and_a_cutout_are_the_same_share_of_any_image() -> None:
    for size in (64, 224, 448):
        black = np.zeros((size, size, 3), dtype=np.uint8)
        for operation, share in (("TranslateX", 150 / 224), ("TranslateY", 150 / 224), ("Cutout", (120 / 224) ** 2)):
            assert (through(black, operation)[..., 0] == 128).mean() == pytest.approx(share, abs=1.5 / size)


def test_every_operation_is_chosen_as_often_in_every_layer_and_goes_either_way() -> None:
    count = 32_000
    draws = uniform(0, 0, sample_keys([str(index) for index in range(count)]), 2 * NUM_DISTORTION_DRAWS)
    chosen = draw_distortions(Augmentation(rand_augment_layers=2), draws)
    for layer in range(2):
        frequencies = np.bincount(chosen.operations[:, layer], minlength=16) / count
        # Four standard deviations of a share of 1/16.
        assert np.abs(frequencies - 1 / 16).max() < 4 * np.sqrt(1 / 16 * 15 / 16 / count)
        assert abs(chosen.signs[:, layer].mean()) < 4 / np.sqrt(count)
    pairs = np.bincount(chosen.operations @ np.array([16, 1]), minlength=256)
    assert pairs.min() > 0.5 * count / 256  # the second layer knows nothing of the first
    assert set(np.unique(chosen.signs)) == {-1.0, 1.0}


def test_layers_follow_each_other(photos: list[NDArray[np.uint8]]) -> None:
    photo = photos[0]
    chosen = np.array([[OPERATIONS.index("Invert"), OPERATIONS.index("Posterize")]])
    both = distort(photo[None], Distortions(chosen, np.ones((1, 2)), np.zeros((1, 2, 2)), 1.5))[0]
    assert np.array_equal(both, through(through(photo, "Invert"), "Posterize"))
    assert not np.array_equal(both, through(through(photo, "Posterize"), "Invert"))


@pytest.mark.parametrize("num_workers", [0, 1, 3])
def test_a_sample_depends_neither_on_its_neighbours_nor_on_threads(
    num_workers: int, photos: list[NDArray[np.uint8]]
) -> None:
    batch = np.stack(photos)
    draws = np.random.default_rng(0).random((len(batch), 3 * NUM_DISTORTION_DRAWS))
    augmentation = Augmentation(rand_augment_layers=3, rand_augment_magnitude=12.0)
    together = distort(batch, draw_distortions(augmentation, draws), num_workers=num_workers)
    assert together.shape == batch.shape
    assert together.dtype == np.uint8
    for index in range(len(batch)):
        alone = distort(batch[[index]], draw_distortions(augmentation, draws[[index]]))
        assert np.array_equal(alone[0], together[index])
    assert not np.array_equal(together, batch)
    assert np.array_equal(batch, np.stack(photos))  # and what came in is as it was


def test_off_is_off() -> None:
    assert draw_distortions(Augmentation(), np.zeros((3, 0))) is None


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"rand_augment_layers": -1}, "rand_augment_layers is -1"),
        ({"rand_augment_layers": 2, "rand_augment_magnitude": 31.0}, "rand_augment_magnitude is 31.0; expected"),
        ({"rand_augment_layers": 2, "rand_augment_magnitude": 0.0}, "0 turns RandAugment off"),
        ({"rand_augment_magnitude": 15.0}, "has no effect without rand_augment_layers above 0"),
    ],
)
def test_what_cannot_be_or_takes_no_effect_is_refused(options: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        Augmentation(**options)


def test_without_timm_the_one_command_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "timm", None)  # as Python marks what cannot be imported
    with pytest.raises(MissingExtraError, match=r"timm is not installed. Install it with: pip install timm$"):
        check_timm()


def test_only_randaugment_the_bench_and_the_studies_need_timm() -> None:
    package = Path(allmlp.__file__).parent
    needs = re.compile(r"""^\s*(import timm|from timm)|import_module\(["']timm|find_spec\(["']timm""", re.MULTILINE)
    found = {path for path in package.rglob("*.py") if needs.search(path.read_text(encoding="utf-8"))}
    bench = set((package / "bench").glob("*.py"))  # in which timm is a contestant
    studies = set((package / "studies" / "learning").glob("*.py"))  # whose other networks are timm's
    assert [path.name for path in found - bench - studies] == ["rand_augment.py"]
