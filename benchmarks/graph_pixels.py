"""Pixels of the graphs that `allmlp export --pixels` writes, against those of `Preprocessing`, by filter, fit and direction.

python benchmarks/graph_pixels.py [--sizes 64] [--image-size 96]

Photos of random sizes are cut from a mosaic of the embedded clothing photos. Per case: the share of values (R, G or B of a
pixel) that differ, and the largest difference in grey levels; the same for photos of a single size, of which the worst case is
kept. Then the CPU time of one photo in each form, in one thread.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from allmlp import MixerConfig, ModelDescription, Preprocessing
from allmlp.checkpoints import ArrayCheckpoint
from allmlp.data import decode, open_dataset
from allmlp.exports import onnx_bytes, parse_onnx
from allmlp.model import parameter_shapes
from allmlp.provenance import record

RESULT = Path(__file__).parent / "results" / "graph_pixels.json"
TURNS = 3
TIMED = {"500 × 375": (375, 500), "2000 × 1500": (1500, 2000)}  # "width × height"
TIMED_IMAGE = 224
FITS = (("crop", 0.875), ("squash", 1.0), ("pad", 1.0))
FILTERS = ("bicubic", "bilinear")
# The shorter side of the photo in image sides, and the largest ratio of its sides.
DIRECTIONS = {"reduced": ((1.2, 5.0), 2.0), "enlarged": ((0.2, 0.8), 2.0), "reduced, long": ((1.2, 2.0), 6.0)}
# Sides of squares. At some ratios many values are exactly between two levels.
SINGLE_SIZES = (
    (64, 48),
    (64, 56),
    (64, 72),
    (64, 96),
    (96, 64),
    (128, 224),
    (256, 224),
    (336, 224),
    (448, 224),
    (512, 224),
)
STD = 0.5


def model_with(preprocessing: Preprocessing) -> ArrayCheckpoint:
    """Return a Mixer of one block and zeros: its weights say nothing about pixels."""
    config = MixerConfig(
        image_size=preprocessing.image_size,
        patch_size=preprocessing.image_size[0],
        num_blocks=1,
        hidden_dim=4,
        tokens_mlp_dim=4,
        channels_mlp_dim=4,
        num_classes=2,
    )
    weights = {name: np.zeros(shape, np.float32) for name, shape in parameter_shapes(config).items()}
    description = ModelDescription(
        config=config, preprocessing=preprocessing, class_names=("a", "b"), source="zeros, to compare pixels"
    )
    return ArrayCheckpoint(description, weights)


def session_of(preprocessing: Preprocessing, pixels: Any) -> Callable[[NDArray[np.uint8]], NDArray[np.float32]]:
    """Return the pixel part of a graph as a function of a photo (h, w, 3), in one thread."""
    graph = parse_onnx(onnx_bytes(model_with(preprocessing), pixels=pixels), where="graph").graph("images")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    return lambda photo: session.run(["images"], {"photos": photo[None]})[0][0]


def mosaic_of(side: int) -> NDArray[np.uint8]:
    """Return the embedded clothing photos side by side, (side, side, 3)."""
    split = open_dataset("clothing").splits["train"]
    photos = [decode(split.read(index), name=split.where(index)) for index in range(min(len(split), 900))]
    count = -(-side // 64)
    rows = [
        np.concatenate([photos[(row * count + column) % len(photos)] for column in range(count)], axis=1)
        for row in range(count)
    ]
    return np.concatenate(rows)[:side, :side]


def sizes_of(direction: str, count: int, side: int) -> list[tuple[int, int]]:
    """Return sizes (height, width) of photos, upright and wide in turn."""
    generator = np.random.default_rng(sorted(DIRECTIONS).index(direction))
    (low, high), longest = DIRECTIONS[direction]
    sizes = []
    for number in range(count):
        short = round(side * generator.uniform(low, high))
        long = round(short * generator.uniform(1.0, longest))
        sizes.append((long, short) if number % 2 else (short, long))
    return sizes


def compared(preprocessing: Preprocessing, photos: list[NDArray[np.uint8]]) -> dict[str, dict[str, float]]:
    """Return how both graphs differ from `Preprocessing` on photos."""
    figures = {}
    expected = [preprocessing(photo) for photo in photos]
    for pixels in ("in", "exact"):
        prepare = session_of(preprocessing, pixels)
        different, largest, values = 0, 0, 0
        for photo, image in zip(photos, expected, strict=True):
            found = prepare(photo)
            levels = np.rint(np.abs(found - image) * STD * 255)
            different += int((found != image).sum())
            largest, values = max(largest, int(levels.max())), values + image.size
        figures[pixels] = {"values": values, "different": different, "share": different / values, "largest": largest}
    return figures


def worst_single_size(interpolation: str, mosaic: NDArray[np.uint8]) -> dict[str, Any]:
    """Return the case of `SINGLE_SIZES` with the largest share of different values, and the largest difference of all."""
    cases = []
    for side, out in SINGLE_SIZES:
        preprocessing = Preprocessing(image_size=out, fit="squash", interpolation=interpolation, std=(STD,) * 3)  # type: ignore[arg-type]
        starts = [(150 * number, 97 * number) for number in range(6)]
        photos = [np.ascontiguousarray(mosaic[top : top + side, left : left + side]) for top, left in starts]
        cases.append({"from": side, "to": out, **compared(preprocessing, photos)["in"]})
    worst = max(cases, key=lambda case: case["share"])
    return {**worst, "largest": max(case["largest"] for case in cases)}


def milliseconds(prepare: Callable[[NDArray[np.uint8]], object], photo: NDArray[np.uint8]) -> float:
    times = []
    for _ in range(TURNS):
        start = time.process_time()
        prepare(photo)
        times.append(1000 * (time.process_time() - start))
    return round(statistics.median(times), 1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, default=64)
    parser.add_argument("--image-size", type=int, default=96)
    parser.add_argument("--result", type=Path, default=RESULT)
    arguments = parser.parse_args()
    side = arguments.image_size
    mosaic = mosaic_of(max(2000, 12 * side))
    rows = []
    for direction in DIRECTIONS:
        sizes = sizes_of(direction, arguments.sizes, side)
        photos = [np.ascontiguousarray(mosaic[:height, :width]) for height, width in sizes]
        for interpolation in FILTERS:
            for fit, crop_fraction in FITS:
                preprocessing = Preprocessing(
                    image_size=side, fit=fit, crop_fraction=crop_fraction, interpolation=interpolation, std=(STD,) * 3
                )  # type: ignore[arg-type]
                figures = compared(preprocessing, photos)
                rows.append({"direction": direction, "filter": interpolation, "fit": fit, **figures})
                print(direction, interpolation, fit, figures, flush=True)
    times = {}
    preprocessing = Preprocessing(image_size=TIMED_IMAGE, crop_fraction=0.875)
    for name, (height, width) in TIMED.items():
        photo = np.ascontiguousarray(mosaic[:height, :width])
        forms = {
            "Preprocessing": preprocessing,
            "in": session_of(preprocessing, "in"),
            "exact": session_of(preprocessing, "exact"),
        }
        times[name] = {form: milliseconds(prepare, photo) for form, prepare in forms.items()}
        print(name, times[name], flush=True)
    figures = {"num_sizes": arguments.sizes, "image_size": side, "rows": rows}
    figures["worst_single_size"] = {name: worst_single_size(name, mosaic) for name in FILTERS}
    print(figures["worst_single_size"], flush=True)
    figures |= {"cpu_milliseconds": times, "timed_image_size": TIMED_IMAGE, "turns": TURNS}
    command = f"python benchmarks/graph_pixels.py --sizes {arguments.sizes} --image-size {side}"
    import torch  # noqa: F401 - with it, the record names the instruction sets

    print("wrote", record(arguments.result, figures, command=command))


if __name__ == "__main__":
    main()
