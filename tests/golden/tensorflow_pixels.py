"""Write tensorflow_expected.npz: pixels and crops of TensorFlow, by big_vision's operations and by the calls of vit_jax.

Run with TensorFlow in a checkout of google-research/big_vision at 0127fb6:

    PYTHONPATH=. python ALLMLP/tests/golden/tensorflow_pixels.py
"""

from pathlib import Path

import numpy as np
import tensorflow as tf
from big_vision.pp import ops_image

PHOTOS = {"wide": (33, 50), "tall": (47, 30), "small": (9, 13)}
# top, left, height and width in "wide": reduced, enlarged, at each edge, and the whole photo
CROPS = ((2, 3, 28, 40), (5, 7, 9, 11), (0, 0, 14, 20), (20, 29, 13, 21), (0, 0, 33, 50))
NUM_DRAWS = 2_000


def photo(shape: tuple[int, int], generator: np.random.Generator) -> np.ndarray:
    """Return noise, with flat areas at the top and on the left, where a rounding error changes a level."""
    pixels = generator.integers(0, 256, (*shape, 3), dtype=np.uint8)
    pixels[: shape[0] // 3] = (255, 77, 1)
    pixels[:, : shape[1] // 4] = (3, 254, 128)
    return pixels


def applied(image: np.ndarray, *operations) -> np.ndarray:
    data = {"image": tf.constant(image)}
    for operation in operations:
        data = operation(data)
    return data["image"].numpy()


def draw_box(_: tf.Tensor) -> tf.Tensor:
    # The call of big_vision's inception_crop and of vit_jax's get_data.
    begin, size, _ = tf.image.sample_distorted_bounding_box(
        [375, 500, 3],
        tf.zeros([0, 0, 4], tf.float32),
        area_range=(0.05, 1.0),
        min_object_covered=0,
        use_image_if_no_bounding_boxes=True,
    )
    return tf.concat([begin[:2], size[:2]], axis=0)


def main() -> None:
    generator = np.random.default_rng(21)
    arrays = {}
    for name, shape in PHOTOS.items():
        image = arrays[name] = photo(shape, generator)
        crop = ops_image.get_central_crop(14)
        arrays[f"{name}/big_vision/crop"] = applied(image, ops_image.get_resize_small(16), crop)
        arrays[f"{name}/big_vision/squash"] = applied(image, ops_image.get_resize(16), crop)
        arrays[f"{name}/vit_jax"] = tf.image.resize(image, [14, 14]).numpy()  # input_pipeline.py
    for top, left, height, width in CROPS:
        cut = arrays["wide"][top : top + height, left : left + width]
        key = f"crop/{top},{left},{height},{width}"
        arrays[f"{key}/big_vision"] = applied(cut, ops_image.get_resize(14))
        arrays[f"{key}/vit_jax"] = tf.image.resize(cut, [14, 14]).numpy()
    tf.random.set_seed(1)
    draws = tf.data.Dataset.range(NUM_DRAWS).map(draw_box).batch(NUM_DRAWS)
    arrays["draws"] = next(iter(draws)).numpy().astype(np.int16)
    np.savez_compressed(Path(__file__).with_name("tensorflow_expected.npz"), **arrays)


if __name__ == "__main__":
    main()
