"""Writer of .npz files for the authors' code: only the weights, with linen's names and axes."""

import zipfile
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from allmlp.checkpoints.checkpoint import Checkpoint
from allmlp.checkpoints.naming.schemes import NAMING_SCHEMES
from allmlp.errors import ConfigError
from allmlp.io.atomic_write import write_together

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

__all__ = ["lost_in_google", "save_google"]


def save_google(checkpoint: Checkpoint, path: str | Path) -> Path:
    """Write the linen parameter tree as an .npz, names joined by "/" as in the released files, and return its path.

    Every weight keeps its bits. NumPy has no bfloat16, so it is stored as in JAX: two bytes of no declared type (|V2). The
    same checkpoint gives the same bytes. Takes the memory of one weight in addition to the checkpoint.

    Raises:
        ConfigError: NumPy has no dtype as narrow as a weight's, or the file cannot be written; an existing file stays.
    """
    path = Path(path)
    narrow = sorted({str(weight.dtype) for weight in checkpoint.weights.values() if weight.dtype.itemsize < 2})
    if narrow:
        raise ConfigError(f"{path}: NumPy has no {', '.join(narrow)}; convert the weights to float16 or wider first.")

    def write(file: IO[bytes]) -> None:
        _write_arrays(file, checkpoint)

    write_together({path: write})
    return path


def lost_in_google(checkpoint: Checkpoint) -> tuple[str, ...]:
    """Return what an .npz cannot hold of the configuration, class names and pre-processing, one sentence per item."""
    config = checkpoint.config
    lost = [f"Which GELU the weights are for: {config.gelu}."]
    if config.gelu != "tanh":
        lost[0] += (
            " The authors' code and allmlp assume tanh for an .npz. To override this in allmlp: convert --gelu erf or "
            'load_checkpoint(..., gelu="erf").'
        )
    if config.image_size[0] != config.image_size[1]:
        height, width = config.image_size
        advice = f"--image-size {height}x{width} or load_checkpoint(path, image_size=({height}, {width}))"
        lost.append(f"The image size: allmlp assumes a square unless it is given {advice}.")
    if config.num_classes:
        lost.append(f'The class names: allmlp will call the {config.num_classes:,} classes "0", "1", ...')
    lost.append(f"The pre-processing: {checkpoint.preprocessing}")
    return tuple(lost)


def _write_arrays(file: IO[bytes], checkpoint: Checkpoint) -> None:
    # Like numpy.savez, but array by array, so that no second copy of all weights is in memory.
    from numpy.lib import format as npy

    scheme = next(scheme for scheme in NAMING_SCHEMES if scheme.name == "google linen")
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        for name, weight in sorted((scheme.theirs(name), weight) for name, weight in checkpoint.weights.items()):
            # ZipInfo's default date is constant. force_zip64: the header, longer for large arrays, is written first.
            with archive.open(zipfile.ZipInfo(f"{name}.npy"), "w", force_zip64=True) as member:
                npy.write_array(member, _array(scheme.from_ours(weight.detach().cpu())), allow_pickle=False)


def _array(weight: "Tensor") -> "NDArray[np.generic]":
    import torch

    array: NDArray[Any] = (weight.view(torch.int16) if weight.dtype is torch.bfloat16 else weight).numpy()
    return array.view("V2") if weight.dtype is torch.bfloat16 else array
