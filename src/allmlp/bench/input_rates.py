"""The rate at which photos become images, per core: read, decode, resize, augment; against timm's loader."""

import importlib
import importlib.util
import io
import time
from collections.abc import Callable
from typing import Any, TypedDict

import numpy as np

from allmlp.bench.rounds import alternated_rounds, ratios_of
from allmlp.data import (
    Augmentation,
    AugmentationPipeline,
    CropImages,
    Preprocessing,
    Split,
    TrainingImages,
    decode,
    sample_keys,
    with_digests,
)
from allmlp.hardware.compute_threads import compute_threads
from allmlp.hardware.devices import reuse_freed_memory
from allmlp.provenance import environment, spread

__all__ = ["InputRates", "measure_input"]

_NUM_PHOTOS = 32
_AUGMENTATION = Augmentation(crop="inception", flip=True)  # as timm's loader without its other options
_TRAIN, _TRAIN_CROPS = "read, decode, augment (train)", "read, decode, augment (train, data.decoding=crop)"
_TIMM = "timm: read, decode, augment"


class InputRates(TypedDict):
    """The figures: each stage includes those before it; "speed_ratio" compares our training input with timm's."""

    environment: dict[str, str]
    num_photos: int
    image_size: list[int]
    images_per_core_second: dict[str, dict[str, float]]
    speed_ratio: dict[str, float]


def measure_input(
    split: Split,
    preprocessing: Preprocessing,
    *,
    seconds: float = 30.0,
    num_rounds: int = 12,
    clock: Callable[[], float] = time.process_time,
) -> InputRates:
    """Measure the first photos of a split, up to 32, in alternated rounds, and return images per second of CPU time.

    The training input is a random crop and flip, ours with a comparison of each photo's digest, as in training. timm's is that
    of its loader in this process, with the same filter and normalisation, if timm is installed.
    """
    count = min(_NUM_PHOTOS, len(split))
    indices, epochs = np.arange(count), np.zeros(count, np.int64)
    pipeline = AugmentationPipeline(
        augmentation=_AUGMENTATION, preprocessing=preprocessing, seed=0, batch_size=count, num_classes=1
    )
    verified = with_digests(split, [""] * len(split))
    # Photos are kept as training with such crops keeps them.
    photos = TrainingImages(verified, image_size=preprocessing.image_size, fit="crop", num_workers=0, kept_scale=4)
    crops = CropImages(verified, augmentation=_AUGMENTATION, preprocessing=preprocessing, num_workers=0)
    keys = sample_keys(split.sample_ids)[:count]

    def read() -> object:
        return [split.read(index) for index in range(count)]

    def decoded() -> list[Any]:
        return [decode(split.read(index), name=split.where(index)) for index in range(count)]

    def evaluated() -> object:
        return [preprocessing(image) for image in decoded()]

    def augmented(is_cropped: bool) -> object:
        draws = pipeline.draws(keys, epochs)
        (raw,) = crops.batches([(indices, draws["crop"])]) if is_cropped else photos.batches([indices])
        return pipeline.augment(raw, epochs, draws, step=0, part=slice(0, count))

    calls: dict[str, Callable[[], object]] = {
        "read": read,
        "read, decode": decoded,
        "read, decode, resize (predict, evaluate)": evaluated,
        _TRAIN: lambda: augmented(False),
    }
    if preprocessing.is_antialiased:
        calls[_TRAIN_CROPS] = lambda: augmented(True)
    if importlib.util.find_spec("timm") is not None:
        calls[_TIMM] = _timm_loader(split, preprocessing, count)
    reuse_freed_memory()  # as training does
    with compute_threads(1):
        for call in calls.values():
            call()
        times = alternated_rounds(calls, num_rounds=num_rounds, seconds=seconds, clock=clock)
    rates = {name: spread([count / max(value, 1e-9) for value in values]) for name, values in times.items()}
    ours = [name for name in (_TRAIN, _TRAIN_CROPS) if name in times and _TIMM in times]
    return {
        "environment": environment(),
        "num_photos": count,
        "image_size": list(preprocessing.image_size),
        "images_per_core_second": rates,
        "speed_ratio": {f"{name} / {_TIMM}": round(ratios_of(times, name, _TIMM), 3) for name in ours},
    }


def _timm_loader(split: Split, preprocessing: Preprocessing, count: int) -> Callable[[], object]:
    """Return a call that takes a batch of `count` photos from timm's loader, which decodes in this process."""
    from PIL import Image

    data = importlib.import_module("timm.data")

    class Photos:
        transform: Any = None  # set by timm

        def __len__(self) -> int:
            return count

        def __getitem__(self, index: int) -> tuple[Any, int]:
            image = Image.open(io.BytesIO(split.read(index))).convert("RGB")  # as timm's ImageDataset
            return self.transform(image), 0

    loader = data.create_loader(
        Photos(),
        input_size=(3, *preprocessing.image_size),
        batch_size=count,
        is_training=True,
        hflip=0.5,
        color_jitter=0.0,
        interpolation=preprocessing.interpolation,
        mean=preprocessing.mean,
        std=preprocessing.std,
        num_workers=0,
        persistent_workers=False,
        device=importlib.import_module("torch").device("cpu"),
    )
    return lambda: list(loader)
