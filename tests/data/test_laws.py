"""The laws of pre-processing: the pixels of timm, big_vision and vit_jax."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from allmlp.config import from_dict
from allmlp.data import Preprocessing
from allmlp.errors import ConfigError

with np.load(Path(__file__).parents[1] / "golden" / "tensorflow_expected.npz") as file:
    GOLDEN = dict(file)


def photo_of(height: int, width: int) -> NDArray[np.uint8]:
    """Return a photo with large shapes and noise."""
    generator = np.random.default_rng(height * 1_000 + width)
    blocks = generator.integers(0, 256, (height // 16 + 1, width // 16 + 1, 3)).repeat(16, axis=0).repeat(16, axis=1)
    noise = generator.integers(-40, 41, (height, width, 3))
    return np.clip(blocks[:height, :width] + noise, 0, 255).astype(np.uint8)


def timms(photo: NDArray[np.uint8], preprocessing: Preprocessing) -> NDArray[np.float32]:
    """Return what timm's transform for evaluation makes of a photo."""
    timm_data = pytest.importorskip("timm.data")
    transform = timm_data.create_transform(
        (3, *preprocessing.image_size),
        is_training=False,
        interpolation=preprocessing.interpolation,
        mean=preprocessing.mean,
        std=preprocessing.std,
        crop_pct=preprocessing.crop_fraction,
        crop_mode={"crop": "center", "squash": "squash", "pad": "border"}[preprocessing.fit],
    )
    return transform(Image.fromarray(photo)).numpy()


def test_timms_law_gives_timms_tensors_bit_for_bit() -> None:
    preprocessing = Preprocessing(image_size=224, crop_fraction=0.875, law="timm")
    sides = np.random.default_rng(60).integers(180, 700, (400, 2))
    photos = [(int(h), int(w)) for h, w in sides if h != w and 0.5 <= h / w <= 2][:60]
    rounded = Preprocessing(image_size=224, crop_fraction=0.875)
    differing = 0
    for size in photos:
        photo = photo_of(*size)
        ours = preprocessing(photo)
        np.testing.assert_array_equal(ours, timms(photo, preprocessing), err_msg=str(size))
        differing += bool((rounded(photo) != ours).any())
    assert len(photos) == 60
    assert differing > 20  # the laws are not the same one


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
@pytest.mark.parametrize(("image_size", "crop_fraction"), [((96, 96), 0.9), ((96, 128), 0.875), ((64, 64), 1.0)])
@pytest.mark.parametrize("fit", ["crop", "squash", "pad"])
def test_timms_law_has_timms_crop_modes(fit, image_size, crop_fraction, interpolation) -> None:
    preprocessing = Preprocessing(
        image_size=image_size,
        fit=fit,
        crop_fraction=1.0 if fit == "pad" else crop_fraction,
        interpolation=interpolation,
        mean=(0.485, 0.456, 0.406),
        std=(0.229, 0.224, 0.225),
        law="timm",
    )
    for size in ((130, 171), (171, 130), (50, 61), (300, 110)):
        photo = 64 + photo_of(*size) // 2  # of levels that a bicubic filter does not take beyond 0 or 255
        # Pillow 13 passes over the height of tall photos first, and rounds to whole levels in another order.
        levels = 1.01 if size[0] > 2 * size[1] or (size[0] > size[1] and fit != "crop") else 0.0
        tolerance = levels / 255 / min(preprocessing.std)
        np.testing.assert_allclose(preprocessing(photo), timms(photo, preprocessing), atol=tolerance, err_msg=str(size))


def test_timms_law_rounds_the_longer_side_down() -> None:
    """640 x 427: the longer side of 256 / 427 * 640 = 383.7 pixels is 383 in torchvision, 384 when rounded."""
    photo = photo_of(427, 640)
    ours = Preprocessing(image_size=224, crop_fraction=0.875, law="timm").resize(photo)
    image = Image.fromarray(photo).resize((383, 256), Image.Resampling.BICUBIC)
    np.testing.assert_array_equal(ours, np.asarray(image.crop((80, 16, 304, 240))))  # 79.5 rounds to even


@pytest.mark.parametrize("name", ["wide", "tall", "small"])
@pytest.mark.parametrize("fit", ["crop", "squash"])
def test_big_visions_law_gives_its_pixels(name: str, fit: str) -> None:
    preprocessing = Preprocessing(
        image_size=14, fit=fit, crop_fraction=14 / 16, interpolation="bilinear", law="big_vision"
    )
    np.testing.assert_array_equal(preprocessing.resize(GOLDEN[name]), GOLDEN[f"{name}/big_vision/{fit}"])


@pytest.mark.parametrize("name", ["wide", "tall", "small"])
def test_vit_jaxs_law_gives_its_pixels_to_half_a_level(name: str) -> None:
    preprocessing = Preprocessing(image_size=14, fit="squash", interpolation="bilinear", law="vit_jax")
    expected = (GOLDEN[f"{name}/vit_jax"] - 127.5) / 127.5  # input_pipeline.py
    ours = preprocessing(GOLDEN[name]).transpose(1, 2, 0)
    np.testing.assert_allclose(ours, expected, atol=0.5001 / 127.5)


@pytest.mark.parametrize("law", ["big_vision", "vit_jax"])
def test_an_enormous_photo_costs_no_more_than_its_crop(law: str) -> None:
    settings = {"fit": "squash"} if law == "vit_jax" else {"fit": "crop"}
    photo = np.full((1, 65_535, 3), 200, np.uint8)
    resized = Preprocessing(image_size=224, interpolation="bilinear", law=law, **settings).resize(photo)
    assert resized.shape == (224, 224, 3)
    assert abs(np.median(resized) - 200) <= 1  # TensorFlow sums an area in float32, and big_vision rounds it down


@pytest.mark.parametrize(
    ("values", "fragments"),
    [
        ({"law": "pytorch"}, ["law is 'pytorch'; expected one of allmlp, timm, big_vision, vit_jax"]),
        ({"law": ["timm"]}, ["law is ['timm']"]),
        ({"law": "big_vision"}, ["law='big_vision'", "interpolation is 'bicubic', expected 'bilinear'"]),
        (
            {"law": "vit_jax", "crop_fraction": 0.875},
            ["fit is 'crop', expected 'squash'", "crop_fraction is 0.875, expected 1.0", "law='allmlp'"],
        ),
        (
            {"law": "big_vision", "interpolation": "bilinear", "fit": "pad"},
            ["fit is 'pad', expected 'crop' or 'squash'"],
        ),
    ],
)
def test_a_setting_that_the_law_does_not_have_is_an_error(values: dict[str, object], fragments: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        Preprocessing(**{"image_size": 32, **values})
    for fragment in fragments:
        assert fragment in str(caught.value)


def test_a_description_without_a_law_is_ours() -> None:
    assert from_dict(Preprocessing, {"image_size": [32, 32]}, where="config.json").law == "allmlp"
    with pytest.raises(ConfigError, match=r"config.json: law: 'tim' is not one of .* Did you mean 'timm'"):
        from_dict(Preprocessing, {"image_size": [32, 32], "law": "tim"}, where="config.json")
