"""Training images of which only the crop is decoded: Pillow's pixels, and how much they differ from those of whole photos."""

import dataclasses
import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image, ImageOps
from tests.training.small_runs import TINY, write_photos

from allmlp.data import Augmentation, CropImages, Preprocessing, TrainingImages, hold_out, open_dataset
from allmlp.data.augmentation.crop_images import CropBatch, normalise_crops
from allmlp.data.augmentation.crops import NUM_CROP_DRAWS, Crops, draw_crops, inception_box
from allmlp.data.augmentation.warp import resample
from allmlp.data.decoding import decode as decoding
from allmlp.data.decoding.jpeg import verified_jpeg
from allmlp.data.resizing.axes import resize_box_by_axes, resize_by_axes
from allmlp.errors import ConfigError, DataError
from allmlp.training import DataConfig
from allmlp.training.distributed.process_group import ONE_PROCESS
from allmlp.training.input_pipeline import InputPipeline
from allmlp.training.progress import NoProgress
from allmlp.training.recipe.resolve import resolve

DRAWS = np.random.default_rng(0).random((12, NUM_CROP_DRAWS))
INCEPTION = Augmentation(crop="inception", flip=True)


def photo(width: int, height: int) -> Image.Image:
    """Return a picture of waves of all frequencies, as smooth as a photo, with some noise."""
    y, x = np.mgrid[:height, :width] / 50.0
    waves = [np.sin(x * (1 + channel)) + np.cos(y * y / 3) + np.sin(x * y) for channel in range(3)]
    noise = np.random.default_rng(1).normal(0, 6, (height, width, 3))
    return Image.fromarray(np.clip(128 + 40 * np.stack(waves, axis=2) + noise, 0, 255).astype(np.uint8))


def encoded(image: Image.Image, kind: str, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def crops_of(root: Path, content: bytes, augmentation: Augmentation, preprocessing: Preprocessing) -> CropBatch:
    path = root / "train" / "class" / "photo"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.with_suffix(".png" if content.startswith(b"\x89PNG") else ".jpg").write_bytes(content)
    split = open_dataset(root).splits["train"]
    images = CropImages(split, augmentation=augmentation, preprocessing=preprocessing, num_workers=0)
    (batch,) = images.batches([(np.zeros(len(DRAWS), np.int64), DRAWS)])
    return batch


def pillows(content: bytes, augmentation: Augmentation, preprocessing: Preprocessing) -> list[NDArray[np.uint8]]:
    """Crop the whole photo with Pillow, the width first (tests/data/resizing/test_axes.py)."""
    image = ImageOps.exif_transpose(Image.open(io.BytesIO(content))).convert("RGB")
    sizes = np.tile([[image.height, image.width]], (len(DRAWS), 1))
    crops = draw_crops(augmentation, DRAWS, sizes, image_size=preprocessing.image_size, fit="crop")
    kernel = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}[preprocessing.interpolation]
    results = []
    for (left, top, width, height), flip in zip(crops.boxes.tolist(), crops.flips, strict=True):
        box = (left, top, min(left + width, image.width), min(top + height, image.height))
        if augmentation.crop_law == "tensorflow":
            result = resize_by_axes(image.crop(tuple(map(round, box))), preprocessing.image_size[::-1], kernel)
        else:
            result = resize_box_by_axes(image, preprocessing.image_size[::-1], kernel, box)
        results.append(np.asarray(ImageOps.mirror(result) if flip else result))
    return results


FILES = {
    "chroma halved": encoded(photo(180, 130), "JPEG", subsampling=2, quality=92),
    "chroma whole": encoded(photo(180, 130), "JPEG", subsampling=0),
    "grey": encoded(photo(180, 130).convert("L"), "JPEG"),
    "CMYK": encoded(photo(180, 130).convert("CMYK"), "JPEG"),
    "progressive": encoded(photo(180, 130), "JPEG", progressive=True),
    "restarts": encoded(photo(180, 130), "JPEG", restart_marker_rows=1),
    "PNG": encoded(photo(180, 130), "PNG"),
}


# Of the second size, Pillow 13 passes over the height first if one call is left to choose, which rounds differently.
@pytest.mark.parametrize("image_size", [(48, 56), (8, 90)], ids=str)
@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
@pytest.mark.parametrize("content", FILES.values(), ids=FILES)
def test_a_crop_has_the_bits_that_pillow_scales_from_the_whole_photo(
    content: bytes, interpolation: Any, image_size: tuple[int, int], tmp_path: Path
) -> None:
    preprocessing = Preprocessing(image_size=image_size, interpolation=interpolation)
    for augmentation in (INCEPTION, dataclasses.replace(INCEPTION, crop_law="tensorflow")):
        found = crops_of(tmp_path, content, augmentation, preprocessing).images
        for ours, theirs in zip(found, pillows(content, augmentation, preprocessing), strict=True):
            np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_turned_photo_is_cropped_upright(orientation: int, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    content = encoded(photo(180, 130), "JPEG", exif=exif)
    preprocessing = Preprocessing(image_size=(48, 56))
    found = crops_of(tmp_path, content, INCEPTION, preprocessing).images
    for ours, theirs in zip(found, pillows(content, INCEPTION, preprocessing), strict=True):
        # Turned after scaling: other axis first, with rounding to uint8 between the axes, at most three levels for bicubic.
        assert np.abs(ours.astype(int) - theirs).max() <= 3


def test_a_reduction_while_decoding_changes_pixels_by_few_levels(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content, preprocessing = encoded(photo(800, 600), "JPEG", quality=92), Preprocessing(image_size=(64, 64))
    scales = []
    original = decoding._part_of_jpeg

    def noted(*arguments: Any) -> Any:
        part = original(*arguments)
        scales.append(800 // part.image.width)
        return part

    monkeypatch.setattr(decoding, "_part_of_jpeg", noted)
    found = crops_of(tmp_path, content, INCEPTION, preprocessing).images
    assert {2, 4} <= set(scales) <= {1, 2, 4}
    differences = [
        np.abs(ours.astype(int) - theirs).mean()
        for ours, theirs in zip(found, pillows(content, INCEPTION, preprocessing), strict=True)
    ]
    assert max(differences) < 2.0  # of 255; libjpeg averages over a square, Pillow's bicubic filter is sharper


def test_crops_differ_from_those_of_whole_photos_by_rounding(tmp_path: Path) -> None:
    preprocessing = Preprocessing(image_size=(48, 56))
    crops = crops_of(tmp_path, FILES["chroma halved"], INCEPTION, preprocessing)
    scale = {"mean": preprocessing.mean, "std": preprocessing.std}
    ours = normalise_crops(crops, device="cpu", **scale)
    whole = TrainingImages(
        open_dataset(tmp_path).splits["train"], image_size=(48, 56), fit="crop", num_workers=0, kept_scale=4
    )
    (raw,) = whole.batches([np.zeros(len(DRAWS), np.int64)])
    boxes: Crops = draw_crops(INCEPTION, DRAWS, raw.sizes, image_size=(48, 56), fit="crop")
    sizes = torch.from_numpy(raw.sizes)
    theirs = resample(
        torch.from_numpy(raw.images), sizes, boxes, image_size=(48, 56), interpolation="bicubic", **scale
    ).clamp(-1, 1)  # Pillow clamps what a bicubic filter overshoots
    levels = (ours - theirs).abs() * 127.5
    assert levels.mean() < 0.5
    assert levels.max() < 4


@pytest.mark.parametrize("law", ["torchvision", "tensorflow"])
@pytest.mark.parametrize("size", [(500, 375), (60, 900), (31, 30)])
def test_the_box_of_one_photo_is_that_of_a_batch(law: Any, size: tuple[int, int]) -> None:
    augmentation = dataclasses.replace(INCEPTION, crop_law=law)
    sizes = np.tile([size[::-1]], (len(DRAWS), 1))
    boxes = draw_crops(augmentation, DRAWS, sizes, image_size=(8, 8), fit="crop").boxes
    single = [inception_box(augmentation, row, size) for row in DRAWS]
    np.testing.assert_allclose(
        single, boxes, rtol=0, atol=1e-9
    )  # exp of NumPy and of Python may differ in the last bit


@pytest.mark.parametrize("name", ["chroma halved", "chroma whole", "grey", "CMYK", "restarts"])
def test_rows_above_a_cut_keep_their_bits(name: str) -> None:
    whole = np.asarray(Image.open(io.BytesIO(FILES[name])))
    jpeg = verified_jpeg(FILES[name])
    assert jpeg is not None
    for bottom in (1, 16, 17, 63, 64, 65, 129, 130):
        with Image.open(io.BytesIO(jpeg.content(bottom))) as image:
            assert bottom <= image.height <= min(130, bottom + 32)
            np.testing.assert_array_equal(np.asarray(image)[:bottom], whole[:bottom])


def test_every_plane_is_normalised_alike() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (2, 5, 7, 3), dtype=np.uint8)
    preprocessing = Preprocessing(image_size=(5, 7), mean=(0.4, 0.5, 0.6), std=(0.2, 0.25, 0.3))
    found = normalise_crops(CropBatch(list(pixels)), device="cpu", mean=preprocessing.mean, std=preprocessing.std)
    np.testing.assert_allclose(found.numpy(), preprocessing.normalise(pixels), rtol=0, atol=1e-6)


def test_batches_do_not_depend_on_workers_or_the_first_step(tmp_path: Path) -> None:
    dataset = hold_out(open_dataset(write_photos(tmp_path)), fraction=0.1, seed=0)

    def batches(num_workers: int, first_step: int) -> list[torch.Tensor]:
        recipe = dataclasses.replace(TINY, data=DataConfig(decoding="crop", num_workers=num_workers))
        recipe = resolve(recipe, dataset, "cpu")
        pipeline = InputPipeline(recipe, dataset, ranks=ONE_PROCESS, progress=NoProgress())
        return [batch.images for batch in pipeline.batches(first_step=first_step, num_steps=4)]

    whole, later = batches(0, 0), batches(2, 2)
    assert whole[0].shape == (16, 3, 16, 16)
    assert all(torch.equal(a, b) for a, b in zip(whole[2:], later, strict=True))


def test_a_photo_that_vanishes_is_named(tmp_path: Path) -> None:
    dataset = hold_out(open_dataset(write_photos(tmp_path)), fraction=0.1, seed=0)
    recipe = resolve(dataclasses.replace(TINY, data=DataConfig(decoding="crop", num_workers=1)), dataset, "cpu")
    pipeline = InputPipeline(recipe, dataset, ranks=ONE_PROCESS, progress=NoProgress())
    for path in (tmp_path / "train" / "red").iterdir():
        path.unlink()
    with pytest.raises(DataError, match=r"red.*\.png"):
        list(pipeline.batches(first_step=0, num_steps=3))


def test_settings_under_which_crops_cannot_be_decoded_alone_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"decoding is crop and data\.storage is memory.*Set data\.storage to auto"):
        DataConfig(decoding="crop", storage="memory")
    data = DataConfig(decoding="crop")
    with pytest.raises(ConfigError, match=r"augmentation\.crop none.*only inception crops"):
        dataclasses.replace(TINY, data=data, augmentation=Augmentation())
    with pytest.raises(ConfigError, match=r"data\.law big_vision"):
        dataclasses.replace(TINY, data=DataConfig(decoding="crop", law="big_vision", interpolation="bilinear"))
