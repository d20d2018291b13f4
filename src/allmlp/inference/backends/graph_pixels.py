"""Photos prepared by the pixel part of an export's graph, in place of the pre-processing of allmlp."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from allmlp.data import Preprocessing, scaled_size
from allmlp.errors import DataError

__all__ = ["GraphPixels"]

_MAX_SCALED_PIXELS = 1 << 28  # 0.8 GB


class GraphPixels:
    """A `Preparation` by a graph. Threads may share it."""

    def __init__(
        self,
        preprocessing: Preprocessing,
        compute: Callable[[NDArray[np.uint8]], NDArray[np.float32]],
        *,
        is_exact: bool,
    ) -> None:
        """Use `compute`, from photos (1, h, w, 3) uint8 to images (1, 3, H, W) float32, which follows `preprocessing`."""
        self._preprocessing = preprocessing
        self._compute = compute
        self._is_exact = is_exact

    @property
    def image_size(self) -> tuple[int, int]:
        """(height, width) of the images."""
        return self._preprocessing.image_size

    def resize(self, image: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return the image (3, H, W) of a photo (h, w, 3), one at a time: photos of other sizes do not fit into its batch.

        Raises:
            DataError: a photo so long that the graph would scale it to gigabytes, of which it keeps the middle.
        """
        self._check_size(image.shape[0], image.shape[1])
        prepared: NDArray[np.float32] = self._compute(np.ascontiguousarray(image)[None])[0]
        return prepared

    def normalise(self, images: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the images (B, 3, H, W) as they are: the graph has normalised them."""
        return images

    def _check_size(self, height: int, width: int) -> None:
        if self._is_exact or not self._preprocessing.is_antialiased:  # which compute only what is kept
            return
        p = self._preprocessing
        scaled = scaled_size(p.law, p.fit, p.image_size, p.crop_fraction, (height, width))
        if scaled[0] * scaled[1] > _MAX_SCALED_PIXELS:
            raise DataError(
                f"A photo of {width:,} × {height:,} pixels: with the pixels in its graph, this model would scale it to "
                f"{scaled[1]:,} × {scaled[0]:,} pixels before it cuts out the middle. Crop the photo, or use the checkpoint."
            )
