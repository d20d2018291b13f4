"""Micro-batches: which sizes are used, by computations whose bits depend on the size in a known way."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from tests.builders import tiny_config

from allmlp.inference.backends.micro_batches import Streams, in_micro_batches, sizes_tested_at_once
from allmlp.metrics import Forward
from allmlp.model import MixerConfig, variant_config

LARGE = variant_config("B/16", num_classes=3)


class Engine:
    """Returns sums of the images, to which `error(size, row)` is added, and records the sizes."""

    def __init__(self, config: MixerConfig, error: Any, *, engine: str | None = None, scale: float = 1.0) -> None:
        self.sizes: list[int] = []
        self._error, self._scale = error, np.float32(scale)
        self.forward: Forward = in_micro_batches(self._compute, config, device="cpu", width=3, engine=engine)
        self.num_tested = len(self.sizes)
        self.sizes.clear()

    def _compute(self, images: NDArray[np.float32], size: int) -> NDArray[np.float32]:
        self.sizes.append(size)
        rows = np.arange(len(images))[:, None]
        sums = images[:, :, :2, :2].sum((2, 3), dtype=np.float32)
        return self._scale * (sums + np.float32(self._error(size, rows))).astype(np.float32)


def images_of(config: MixerConfig, number: int) -> NDArray[np.float32]:
    return np.ones((number, 3, *config.image_size), np.float32)


@pytest.mark.parametrize(
    ("error", "sizes"),
    [
        (lambda size, row: 0.0, [16, 8, 2, 1]),
        (lambda size, row: float(size == 1), [16, 8, 2, 2]),  # ONNX Runtime on AVX2
        (lambda size, row: float(size < 16), [16, 16]),
        (lambda size, row: 1.0 * (row > 14), [1] * 27),  # odd widths: not even the rows of one size agree
        (lambda size, row: float(size == 8), [16, 16]),
    ],
    ids=["all agree", "one image differs", "only the largest", "none", "one in the middle"],
)
def test_a_small_mixer_uses_the_sizes_that_agree(error: Any, sizes: list[int]) -> None:
    config = tiny_config()
    engine = Engine(config, error)
    engine.forward(images_of(config, 27))
    assert engine.sizes == sizes


def test_nearly_a_micro_batch_is_padded() -> None:
    config = tiny_config()
    engine = Engine(config, lambda size, row: 0.0)
    for number, sizes in ((14, [16]), (13, [8, 4, 1]), (3, [2, 1]), (1, [1]), (0, [])):
        engine.sizes.clear()
        assert engine.forward(images_of(config, number)).shape == (number, 3)
        assert engine.sizes == sizes


def test_a_large_mixer_is_tested_after_four_times_the_images_of_the_test() -> None:
    engine = Engine(LARGE, lambda size, row: 0.0)
    engine.forward(images_of(LARGE, 64))
    assert engine.sizes == [1] * 64
    engine.sizes.clear()
    engine.forward(images_of(LARGE, 16))
    assert engine.sizes == [1, 16, 16]  # the first two are the test
    engine.sizes.clear()
    engine.forward(images_of(LARGE, 3))
    assert engine.sizes == [1, 2, 2, 1]


def test_a_large_mixer_whose_sizes_differ_keeps_to_single_images() -> None:
    engine = Engine(LARGE, lambda size, row: float(size > 1))
    outputs = [engine.forward(images_of(LARGE, 32)) for _ in range(8)]
    assert engine.sizes[-32:] == [1] * 32
    assert all(np.array_equal(output, outputs[0]) for output in outputs)


def test_the_test_of_an_engine_is_remembered_but_not_if_it_says_nothing() -> None:
    config = tiny_config()

    def one_differs(size: int, row: Any) -> float:
        return float(size == 1)

    zero = Engine(
        config, one_differs, engine="tested", scale=0.0
    )  # a classifier of zeros, to which all sizes are alike
    first = Engine(config, one_differs, engine="tested")
    assert zero.num_tested and first.num_tested
    again = Engine(config, one_differs, engine="tested", scale=2.0)
    assert not again.num_tested
    for engine in (first, again):
        engine.forward(images_of(config, 3))
        assert engine.sizes == [2, 2]
    assert Engine(config, one_differs, engine="another").num_tested
    assert Engine(tiny_config(num_blocks=3), one_differs, engine="tested").num_tested


def sizes_on_a_gpu(number: int, **options: Any) -> list[int]:
    """Return the sizes in which `number` images of a computation on "cuda" come; the computation itself needs no GPU."""
    config, found = tiny_config(), []

    def compute(images: NDArray[np.float32], size: int) -> NDArray[np.float32]:
        found.append(size)
        return images[:, :, 0, 0]

    images = images_of(config, number)
    images[:, :, 0, 0] = np.arange(3 * number).reshape(number, 3)
    outputs = in_micro_batches(compute, config, device="cuda", width=3, **options)(images)
    np.testing.assert_array_equal(outputs, images[:, :, 0, 0])
    return found


@pytest.mark.parametrize(("number", "sizes"), [(0, []), (1, [1]), (100, [100]), (256, [256]), (600, [256, 256, 88])])
def test_a_gpu_computes_a_call_at_once_up_to_a_limit_and_without_a_test(number: int, sizes: list[int]) -> None:
    assert sizes_on_a_gpu(number, sizes=None, exact=False) == sizes


@pytest.mark.parametrize(("number", "sizes"), [(0, []), (1, [64]), (65, [64, 64])])
def test_a_gpu_pads_to_one_size_on_request(number: int, sizes: list[int]) -> None:
    assert sizes_on_a_gpu(number, sizes=None, exact=True) == sizes


@pytest.mark.parametrize(("number", "sizes"), [(3, [1, 1, 1]), (4, [4]), (60, [64]), (100, [64, 16, 16, 4])])
def test_a_gpu_that_compiles_each_size_uses_few(number: int, sizes: list[int]) -> None:
    assert sizes_on_a_gpu(number, sizes=(1, 4, 16, 64, 256), exact=False) == sizes


@pytest.mark.parametrize(("error", "num_parallel"), [(0.0, 4), (1.0, 0)], ids=["same bits", "other bits"])
def test_streams_compute_the_micro_batches_of_a_call_only_if_they_get_the_same_bits(
    error: float, num_parallel: int
) -> None:
    config = tiny_config()
    sizes: list[int] = []

    def alone(images: NDArray[np.float32], size: int) -> NDArray[np.float32]:
        return images[:, :, :2, :2].sum((2, 3), dtype=np.float32)

    def in_stream(images: NDArray[np.float32], size: int) -> NDArray[np.float32]:
        sizes.append(size)
        return alone(images, size) + np.float32(error)

    forward = in_micro_batches(alone, config, device="cpu", width=3, streams=Streams(4, in_stream))
    images = np.random.default_rng(0).standard_normal((32, 3, *config.image_size), dtype=np.float32)
    expected = alone(images, 32)
    np.testing.assert_array_equal(forward(images[:1]), expected[:1])
    assert not sizes  # all threads compute one image
    np.testing.assert_array_equal(forward(images), expected)
    num_tested = 1 if error else 32  # the first difference is enough
    assert sizes == [8] * (num_tested + num_parallel)


def test_a_stream_that_differs_for_some_images_only_is_refused() -> None:
    def alone(images: NDArray[np.float32], size: int) -> NDArray[np.float32]:
        return images[:, :, 0, 0]

    def in_stream(images: NDArray[np.float32], size: int) -> NDArray[np.float32]:
        return images[:, :, 0, 0] + (images[:, :1, 0, 0] > 2)

    assert Streams(2, in_stream).agrees(1, alone, (1, 3, 2, 2), num_trials=1)
    assert not Streams(2, in_stream).agrees(1, alone, (1, 3, 2, 2), num_trials=32)


def test_an_error_in_a_stream_is_raised() -> None:
    config = tiny_config()

    def alone(images: NDArray[np.float32], size: int) -> NDArray[np.float32]:
        return images[:, :, :2, :2].sum((2, 3), dtype=np.float32)

    calls = iter(range(100))

    def fails_later(images: NDArray[np.float32], size: int) -> NDArray[np.float32]:
        if next(calls) > 32:  # after the test
            raise RuntimeError("out of memory")
        return alone(images, size)

    forward = in_micro_batches(alone, config, device="cpu", width=3, streams=Streams(2, fails_later))
    with pytest.raises(RuntimeError, match="out of memory"):
        forward(images_of(config, 32))


def test_a_block_can_ask_for_the_test_of_a_larger_size_at_once() -> None:
    engine, images = Engine(LARGE, lambda size, row: 0.0), images_of(LARGE, 16)
    engine.forward(images)
    assert engine.sizes == [1] * 16
    other = Engine(LARGE, lambda size, row: 0.0)
    with sizes_tested_at_once():
        other.forward(images)
    assert other.sizes[-1] == 16
    assert np.array_equal(other.forward(images), engine.forward(images))
