"""The rate at which photos become images, per core: read, decode, resize, augment; against timm's transforms."""

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
    Preprocessing,
    Split,
    TrainingImages,
    decode,
    sample_keys,
)
from allmlp.hardware.compute_threads import compute_threads
from allmlp.provenance import environment, spread

__all__ = ["InputRates", "measure_input"]

_NUM_PHOTOS = 32
_AUGMENTATION = Augmentation(crop="inception", flip=True)  # as timm's transforms without its other options


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

    The training input is a random crop and flip, ours by threads and matrix products, timm's by its own
    transforms on Pillow images, if timm is installed.
    """
    count = min(_NUM_PHOTOS, len(split))
    indices = np.arange(count)
    pipeline = AugmentationPipeline(
        augmentation=_AUGMENTATION, preprocessing=preprocessing, seed=0, batch_size=count, num_classes=1
    )
    photos = TrainingImages(split, image_size=preprocessing.image_size, fit=preprocessing.fit, num_workers=1)
    keys = sample_keys(split.sample_ids)[:count]

    def read() -> object:
        return [split.read(index) for index in range(count)]

    def decoded() -> list[Any]:
        return [decode(split.read(index), name=split.where(index)) for index in range(count)]

    def evaluated() -> object:
        return [preprocessing(image) for image in decoded()]

    def augmented() -> object:
        (raw,) = photos.batches([indices])
        draws = pipeline.draws(keys, np.zeros(count, np.int64))
        return pipeline.augment(raw, np.zeros(count, np.int64), draws, step=0, part=slice(0, count))

    calls: dict[str, Callable[[], object]] = {
        "read": read,
        "read, decode": decoded,
        "read, decode, resize (predict, evaluate)": evaluated,
        "read, decode, augment (train)": augmented,
    }
    if importlib.util.find_spec("timm") is not None:
        calls["timm: read, decode, augment"] = _timm_input(split, preprocessing, count)
    with compute_threads(1):
        for call in calls.values():
            call()
        times = alternated_rounds(calls, num_rounds=num_rounds, seconds=seconds, clock=clock)
    rates = {name: spread([count / max(value, 1e-9) for value in values]) for name, values in times.items()}
    names = list(times)
    ratios = {f"{names[3]} / {names[4]}": round(ratios_of(times, names[3], names[4]), 3)} if len(names) > 4 else {}
    return {
        "environment": environment(),
        "num_photos": count,
        "image_size": list(preprocessing.image_size),
        "images_per_core_second": rates,
        "speed_ratio": ratios,
    }


def _timm_input(split: Split, preprocessing: Preprocessing, count: int) -> Callable[[], object]:
    from PIL import Image

    create = importlib.import_module("timm.data").create_transform
    transform = create(
        input_size=(3, *preprocessing.image_size), is_training=True, color_jitter=None, interpolation="bilinear"
    )

    def call() -> object:
        return [transform(Image.open(io.BytesIO(split.read(index))).convert("RGB")) for index in range(count)]

    return call
