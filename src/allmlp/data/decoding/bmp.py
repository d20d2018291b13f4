"""Check of BMP files before any pixel is decoded."""

from PIL.BmpImagePlugin import BmpImageFile

from allmlp.data.decoding.reasons import UnusablePhotoError

__all__ = ["check_bmp"]

# Pillow decodes runs in Python, a step for each run and for each pixel that a row lacks, in a thread that lets no other run.
_MAX_RUN_PIXELS = 4_000_000
_MAX_RUN_BYTES = 1_000_000


def check_bmp(image: BmpImageFile, num_bytes: int) -> None:
    """Check that the run lengths of a BMP can be decoded within a second. Raises UnusablePhotoError."""
    width, height = image.size
    is_run_length = any(tile.codec_name == "bmp_rle" for tile in image.tile)
    if is_run_length and (width * height > _MAX_RUN_PIXELS or num_bytes > _MAX_RUN_BYTES):
        raise UnusablePhotoError(
            f"it is a run-length encoded BMP of {width} x {height} pixels and {num_bytes:,} bytes; "
            f"the limits are {_MAX_RUN_PIXELS:,} and {_MAX_RUN_BYTES:,}",
            advice="Save it as PNG",
            fault="limit",
        )
