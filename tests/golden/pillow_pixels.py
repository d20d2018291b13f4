"""Write pillow_expected.npz: what one call of Pillow 11, which passes over the width first, makes of photos of many shapes.

Photos are resized as a whole, boxes of them are, and whole photos are averaged by a call that may reduce them before.

Run with Pillow 11.3.0 and NumPy alone: python tests/golden/pillow_pixels.py
"""

from pathlib import Path

import numpy as np
import PIL
from PIL import Image

FILTERS = {
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "box": Image.Resampling.BOX,  # which training reduces large photos with
}
# (height, width) of the photo, and to which (height, width) it is scaled. Pillow 13 passes over the height of the first three
# first, which changes some values by a level.
SHAPES = (((90, 21), (34, 8)), ((67, 30), (16, 16)), ((71, 9), (20, 12)), ((30, 41), (16, 22)), ((11, 13), (24, 28)))
# Boxes (left, top, right, bottom) of every photo that is large enough.
BOXES = ((0.0, 0.0, 9.0, 40.5), (2.25, 10.125, 8.75, 66.0), (1.5, 3.0, 8.0, 9.75))
SIDE = 8  # of the averages


def main() -> None:
    assert PIL.__version__.startswith("11."), PIL.__version__
    generator = np.random.default_rng(11)
    arrays = {}
    for shape, scaled in SHAPES:
        photo = generator.integers(0, 256, (*shape, 3), dtype=np.uint8)
        name = "x".join(map(str, shape))
        arrays[name] = photo
        for filter_name, resample in FILTERS.items():
            resized = Image.fromarray(photo).resize(scaled[::-1], resample)
            arrays[f"{name}/{filter_name}/{scaled[0]}x{scaled[1]}"] = np.array(resized)
            for box in BOXES:
                if box[2] <= shape[1] and box[3] <= shape[0]:
                    resized = Image.fromarray(photo).resize(scaled[::-1], resample, box=box)
                    words = "_".join(map(str, box))
                    arrays[f"{name}/{filter_name}/{scaled[0]}x{scaled[1]}/{words}"] = np.array(resized)
        averaged = Image.fromarray(photo).resize((SIDE, SIDE), Image.Resampling.BOX, reducing_gap=2.0)
        arrays[f"{name}/{SIDE}"] = np.array(averaged)
    np.savez_compressed(Path(__file__).with_name("pillow_expected.npz"), **arrays)


if __name__ == "__main__":
    main()
