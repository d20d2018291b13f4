"""Cost of RandAugment: ours, with timm's Pillow functions in threads, against torchvision's on a batch of tensors.

python benchmarks/rand_augment.py [--turns 7] [--batch 128]
"""

import argparse
import io
import math
import time
from pathlib import Path

import numpy as np

from allmlp.provenance import record, spread

RESULT = Path(__file__).parent / "results" / "rand_augment.json"
MAGNITUDE = 15.0


def torchvision_operations(strengths):
    """Return torchvision's equivalents of eleven of our operations, with our strengths, on (n, 3, H, W) uint8."""
    from torchvision.transforms import InterpolationMode
    from torchvision.transforms.v2 import functional

    nearest, grey = InterpolationMode.NEAREST, [128.0] * 3

    def shear(angles):
        return lambda images: functional.affine(images, 0.0, [0, 0], 1.0, angles, nearest, grey, [0, 0])

    angle = math.degrees(math.atan(strengths["ShearX"]))
    return {
        "AutoContrast": functional.autocontrast,
        "Equalize": functional.equalize,
        "Invert": functional.invert,
        "Rotate": lambda images: functional.rotate(images, strengths["Rotate"], nearest, fill=grey),
        "Posterize": lambda images: functional.posterize(images, strengths["Posterize"]),
        "Solarize": lambda images: functional.solarize(images, strengths["Solarize"]),
        "Color": lambda images: functional.adjust_saturation(images, strengths["Color"]),
        "Brightness": lambda images: functional.adjust_brightness(images, strengths["Brightness"]),
        "Sharpness": lambda images: functional.adjust_sharpness(images, strengths["Sharpness"]),
        "ShearX": shear([angle, 0.0]),
        "ShearY": shear([0.0, angle]),
    }


def seconds_of(function, turns):
    """Return the times of `turns` calls, after a warm-up call."""
    function()
    values = []
    for _ in range(turns):
        start = time.perf_counter()
        function()
        values.append(time.perf_counter() - start)
    return values


def measure_shared_operations(images, turns):
    """Measure ours and torchvision's in one layer of their common operations, all drawn equally often."""
    import torch

    from allmlp.data.augmentation.rand_augment import OPERATIONS, STRENGTHS, Distortions, distort

    operations = torchvision_operations({name: strength(MAGNITUDE / 10) for name, strength in STRENGTHS.items()})
    count = len(images)
    names = [list(operations)[index % len(operations)] for index in range(count)]
    chosen = np.array([[OPERATIONS.index(name)] for name in names])
    distortions = Distortions(chosen, np.ones((count, 1)), np.full((count, 1, 2), 0.5), MAGNITUDE / 10)
    groups = {name: torch.tensor([index for index in range(count) if names[index] == name]) for name in operations}
    tensors = torch.from_numpy(images).permute(0, 3, 1, 2).contiguous()

    def batched():
        distorted = tensors.clone()
        for name, rows in groups.items():
            distorted[rows] = operations[name](distorted[rows])
        return distorted

    figures = {"ours": {}, "torchvision": {}, "largest_difference": {}, "share_that_differs": {}}
    for threads in (1, 2):
        torch.set_num_threads(threads)
        for implementation, function in (
            ("ours", lambda threads=threads: distort(images, distortions, num_workers=threads)),
            ("torchvision", batched),
        ):
            rates = [count / seconds for seconds in seconds_of(function, turns)]
            figures[implementation][str(threads)] = {"images_per_second": spread(rates)}
    differences = np.abs(distort(images, distortions).astype(int) - batched().permute(0, 2, 3, 1).numpy())
    for name, rows in groups.items():
        figures["largest_difference"][name] = int(differences[rows.numpy()].max())
        figures["share_that_differs"][name] = float(f"{(differences[rows.numpy()] > 0).mean():.3g}")
    return figures


def measure_all_operations(images, turns):
    """Measure two layers of all 16 operations, drawn as in training, and each operation by itself in one thread."""
    from allmlp.data import Augmentation
    from allmlp.data.augmentation.rand_augment import (
        NUM_DISTORTION_DRAWS,
        OPERATIONS,
        Distortions,
        distort,
        draw_distortions,
    )

    count = len(images)
    augmentation = Augmentation(rand_augment_layers=2, rand_augment_magnitude=MAGNITUDE)
    draws = np.random.default_rng(0).random((count, 2 * NUM_DISTORTION_DRAWS))
    distortions = draw_distortions(augmentation, draws)
    figures = {"images_per_second": {}, "operation_microseconds": {}}
    for threads in (1, 2):
        rates = [
            count / seconds
            for seconds in seconds_of(lambda n=threads: distort(images, distortions, num_workers=n), turns)
        ]
        figures["images_per_second"][str(threads)] = spread(rates)
    for index, name in enumerate(OPERATIONS):
        single = Distortions(
            np.full((count, 1), index), np.ones((count, 1)), np.full((count, 1, 2), 0.5), MAGNITUDE / 10
        )
        times = seconds_of(lambda single=single: distort(images, single), 3)
        figures["operation_microseconds"][name] = round(1e6 * min(times) / count, 1)
    return figures


def measure_decoding(images, turns):
    """Measure the decoding of a JPEG of ImageNet's usual size, 500 × 375, in one thread, which streaming needs in any case."""
    from PIL import Image

    from allmlp.data import decode

    tiled = images[:48].reshape(6, 8, 64, 64, 3).transpose(0, 2, 1, 3, 4).reshape(384, 512, 3)[:375, :500]
    buffer = io.BytesIO()
    Image.fromarray(tiled).save(buffer, "JPEG", quality=90)
    content = buffer.getvalue()
    rates = [16 / seconds for seconds in seconds_of(lambda: [decode(content, name="") for _ in range(16)], turns)]
    return {"bytes": len(content), "images_per_second": spread(rates)}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--turns", type=int, default=7)
    parser.add_argument("--batch", type=int, default=128)
    arguments = parser.parse_args()

    from PIL import Image

    from allmlp.data import decode, open_dataset

    split = open_dataset("clothing").splits["train"]
    decoded = [decode(split.read(index * 7), name="") for index in range(arguments.batch)]
    figures = {"magnitude": MAGNITUDE, "batch": arguments.batch, "size": {}}
    for size in (64, 224):
        images = np.stack(
            [np.asarray(Image.fromarray(image).resize((size, size), Image.Resampling.BICUBIC)) for image in decoded]
        )
        figures["size"][str(size)] = {
            "two_layers_of_16": measure_all_operations(images, arguments.turns),
            "one_layer_of_11": measure_shared_operations(images, arguments.turns),
        }
    figures["decoding_500x375"] = measure_decoding(np.stack(decoded), arguments.turns)
    print("wrote", record(RESULT, figures, command=f"python benchmarks/rand_augment.py --turns {arguments.turns}"))


if __name__ == "__main__":
    main()
