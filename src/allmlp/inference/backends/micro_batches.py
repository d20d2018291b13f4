"""Micro-batches of tested sizes, in which an image's outputs do not depend on the rest of its batch.

If they did, scores would change with the batch size. But matrix libraries choose a kernel by the shape of the product, and may
use a different kernel for its last rows; either changes the order of additions and thus the last bits. So the images of a call
are computed in micro-batches of a few sizes, at all of which an image gets the same bits in every row. Whether it does depends
on the library, the model's widths, the device and the number of threads, but not on the images. So it is tested. A small Mixer
is tested when it is opened; if no two sizes agree, its micro-batches have one size and are padded with zeros, or hold one image
if even the rows of one size differ. A large Mixer starts with single images, and a larger size is tested once enough images
came to make that worth its time; the outputs are the same before and after.

On a GPU, where small batches cost most of the speed, the images of a call are computed together, and the last bits of an
image's outputs may depend on the others. On request (`exact`), micro-batches have one size instead: padded, so that the kernels
are always the same, but not tested.
"""

import contextlib
from collections.abc import Callable, Hashable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import ContextVar
from functools import partial
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from allmlp.inference.runnable import Output
from allmlp.metrics import Forward
from allmlp.model import MixerConfig, num_multiply_adds

__all__ = [
    "LARGEST_BATCH",
    "LARGEST_MICRO_BATCH",
    "MICRO_BATCH_SIZES",
    "Compute",
    "Streams",
    "in_micro_batches",
    "num_outputs",
    "sizes_tested_at_once",
]

Compute = Callable[[NDArray[np.float32], int], NDArray[np.float32]]
"""From at most n images (b, 3, H, W) and n, the size to pad them to, to the outputs (b, K)."""

# On a GPU, those on request: the default batch size of `evaluate`, for fewer images leave the GPU idle, and with more every
# batch would be padded.
LARGEST_MICRO_BATCH = {"cpu": 16, "cuda": 64, "mps": 16}
MICRO_BATCH_SIZES = (1, 2, 4, 8, 16, 32)
"""Of a CPU, in ascending order; those above `LARGEST_MICRO_BATCH` only if tuning found them faster."""
LARGEST_BATCH = {"cuda": 256, "mps": 64}
"""Of a GPU, unless micro-batches are requested. With 256 images, the widest layer of B/16 holds 0.6 GB in float32."""

# A Mixer is small if 16 images take at most this many multiply-adds: about 0.1 s on two cores. Only small ones are padded.
_MAX_SMALL_MULTIPLY_ADDS = 4e9
# A micro-batch size is tried with at most this many random images (a single one may miss a difference: on small Mixers, one in
# nine showed it), and with at most this many multiply-adds, 0.02 s on two cores.
_MAX_TRIALS = 32
_MAX_TRIAL_MULTIPLY_ADDS = 1e9
# A size of a large Mixer is tested after this many times as many images, so that the test takes at most a fourth of their time.
_IMAGES_PER_TESTED_IMAGE = 4
# With at least this share of a larger micro-batch left, padding it is faster than several smaller ones.
_MIN_FILLED = 7 / 8


_tests_at_once = ContextVar("tests_at_once", default=False)


@contextlib.contextmanager
def sizes_tested_at_once() -> Iterator[None]:
    """Let calls in the block test a larger size of a large Mixer without waiting for more images, to measure its speed."""
    token = _tests_at_once.set(True)
    try:
        yield
    finally:
        _tests_at_once.reset(token)


class Streams:
    """Micro-batches of a call that are computed at once, by `compute` with fewer threads for each.

    A size takes part if an image gets the same bits as from all threads together, which is tested once. Threads may share it.
    """

    def __init__(self, number: int, compute: Compute) -> None:
        self.number = number
        self.compute = compute
        self._agrees: dict[int, bool] = {}
        self._pool: ThreadPoolExecutor | None = None

    def run(self, tasks: Sequence[Callable[[], object]]) -> None:
        """Run the tasks of a call, and raise the error of the first one that fails."""
        if self._pool is None:
            self._pool = ThreadPoolExecutor(self.number, "allmlp-stream")
        for future in [self._pool.submit(task) for task in tasks]:
            future.result()

    def agrees(self, size: int, alone: Compute, image_shape: tuple[int, ...], num_trials: int) -> bool:
        """Return whether a size gets the same bits as from `alone`, in `num_trials` micro-batches.

        `image_shape` is (1, 3, H, W).
        """
        if size not in self._agrees:
            generator = np.random.default_rng(0)
            trials = (generator.standard_normal((size, *image_shape[1:]), dtype=np.float32) for _ in range(num_trials))
            self._agrees[size] = all(np.array_equal(self.compute(each, size), alone(each, size)) for each in trials)
        return self._agrees[size]


def _num_trials(size: int, multiply_adds: int) -> int:
    """Return with how many micro-batches of a size, of images that take so many multiply-adds each, it is tested."""
    # Small Mixers sum few numbers, whose result may be equal by chance, so they are tried with many images.
    return max(1, min(_MAX_TRIALS, int(_MAX_TRIAL_MULTIPLY_ADDS / (size * multiply_adds))))


def num_outputs(config: MixerConfig, output: Output) -> int:
    """Return the width of an output: features, also of a Mixer without a classifier, or logits."""
    return config.hidden_dim if output == "features" or not config.num_classes else config.num_classes


def in_micro_batches(
    compute: Compute,
    config: MixerConfig,
    *,
    device: str,
    width: int,
    sizes: Sequence[int] | None = MICRO_BATCH_SIZES[:-1],
    engine: Hashable = None,
    exact: bool = True,
    streams: Streams | None = None,
) -> Forward:
    """Return a `Forward` for any number of images, including 0, whose outputs (B, `width`) `compute` computes.

    `sizes` are those to choose from, in ascending order from 1; None allows any size up to the largest, on a GPU only. The
    smallest Mixers of the same shape are tested once per `engine`: all else that the sizes depend on, such as the precision
    and the number of threads. None tests each. Unless `exact`, an image's outputs may depend on the rest of its batch on a GPU.
    With `streams`, the micro-batches of a call are computed at once, if it has several.
    """
    sample_shape = (3, *config.image_size)
    multiply_adds = num_multiply_adds(config)
    chosen: _Sizes | _Fixed | _Together
    if device == "cpu":
        assert sizes is not None
        key = None if engine is None else (engine, config, width, tuple(sizes))
        chosen = _Sizes(compute, config, sizes, key)
    else:
        chosen = _Fixed(LARGEST_MICRO_BATCH[device]) if exact else _Together(LARGEST_BATCH[device], sizes)

    def forward(images: NDArray[np.float32]) -> NDArray[np.float32]:
        if images.shape[1:] != sample_shape:
            raise ValueError(
                f"images have shape {images.shape}; this Mixer takes (B, {', '.join(map(str, sample_shape))})."
            )
        outputs = np.empty((len(images), width), dtype=np.float32)
        sizes = chosen.divide(len(images), 1 if streams is None else streams.number)
        starts = np.cumsum([0, *sizes]).tolist()[:-1]
        is_parallel = (
            streams is not None
            and len(sizes) > 1
            and all(
                streams.agrees(size, compute, (1, *sample_shape), _num_trials(size, multiply_adds))
                for size in set(sizes)
            )
        )
        function = streams.compute if streams is not None and is_parallel else compute

        def write(start: int, size: int) -> None:
            outputs[start : start + size] = function(images[start : start + size], size)

        tasks = [partial(write, start, size) for start, size in zip(starts, sizes, strict=True)]
        if streams is not None and is_parallel:
            streams.run(tasks)
        else:
            for task in tasks:
                task()
        return outputs

    return forward


class _Fixed:
    """One size, to which the last micro-batch of a call is padded."""

    def __init__(self, size: int) -> None:
        self._size = size

    def divide(self, num_images: int, num_streams: int) -> list[int]:  # noqa: ARG002
        return [self._size] * -(-num_images // self._size)


class _Together:
    """Batches as large as a call and the limit allow: of any size, or filled up to one of a few sizes."""

    def __init__(self, largest: int, sizes: Sequence[int] | None) -> None:
        self._largest, self._sizes = largest, sizes

    def divide(self, num_images: int, num_streams: int) -> list[int]:  # noqa: ARG002
        if self._sizes is not None:
            return _filled(num_images, self._sizes)
        full, rest = divmod(num_images, self._largest)
        return [self._largest] * full + [rest] * (rest > 0)


def _filled(num_images: int, sizes: Sequence[int]) -> list[int]:
    """Return the sizes, of those in ascending order, of the batches of a call, of which the last may be padded."""
    chosen: list[int] = []
    while num_images > 0:
        size = max((size for size in sizes if num_images >= _MIN_FILLED * size), default=sizes[0])
        chosen.append(size)
        num_images -= size
    return chosen


class _Sizes:
    """The sizes that were tested on a CPU. Threads may share it: at worst, two of them test a size at the same time."""

    _known: ClassVar[dict[Hashable, tuple[int, ...]]] = {}

    def __init__(self, compute: Compute, config: MixerConfig, sizes: Sequence[int], key: Hashable) -> None:
        self._compute = compute
        self._image_shape = (1, 3, *config.image_size)
        self._multiply_adds = num_multiply_adds(config)
        self._num_images = 0
        self._is_telling = False
        is_small = sizes[-1] * self._multiply_adds <= _MAX_SMALL_MULTIPLY_ADDS
        self._usable: tuple[int, ...] = (1,)
        if is_small and key in self._known:
            self._usable = self._known[key]
        elif is_small:
            self._usable = self._agreeing(tuple(sizes))
            if key is not None and self._is_telling:
                self._known[key] = self._usable
        self._untested = () if is_small else tuple(sizes[1:])

    def divide(self, num_images: int, num_streams: int) -> list[int]:
        """Return the sizes of the micro-batches of a call, of which the last may be padded; enough of them for the streams."""
        self._test_a_larger_size(num_images)
        self._num_images += num_images
        if num_streams == 1:
            return _filled(num_images, self._usable)
        share = num_images // num_streams
        return _filled(num_images, [size for size in self._usable if size <= share] or self._usable[:1])

    def _test_a_larger_size(self, num_images: int) -> None:
        enough = num_images if _tests_at_once.get() else self._num_images // _IMAGES_PER_TESTED_IMAGE
        size = max((size for size in self._untested if size <= min(num_images, enough)), default=None)
        if size is not None:
            self._untested = tuple(other for other in self._untested if other != size)
            if self._agreeing((1, size)) == (1, size):
                self._usable = tuple(sorted({*self._usable, size}))

    def _agreeing(self, sizes: tuple[int, ...]) -> tuple[int, ...]:
        """Return the sizes from the smallest one on that gives an image the same bits as all larger ones, in every row.

        (1,) if not even the rows of the largest size have the same bits.
        """
        generator = np.random.default_rng(0)
        previous: NDArray[np.float32] | None = None
        for _ in range(_num_trials(sizes[-1], self._multiply_adds)):
            image = generator.standard_normal(self._image_shape, dtype=np.float32)
            outputs = {size: self._compute(np.repeat(image, size, axis=0), size) for size in sizes}
            expected = outputs[sizes[-1]][:1]
            # A classifier of zeros gives the same bits at any size, and says nothing about other weights.
            self._is_telling = previous is not None and bool(
                (expected != previous).all() and np.isfinite(expected).all()
            )
            previous = expected
            wrong = [size for size in sizes if not np.array_equal(outputs[size], np.repeat(expected, size, axis=0))]
            if wrong:
                sizes = tuple(size for size in sizes if size > wrong[-1])
            if not sizes:
                return (1,)
        return sizes
