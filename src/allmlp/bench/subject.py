"""What is measured: a checkpoint, also in int8, or an export."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from allmlp.checkpoints import Checkpoint, ModelDescription
from allmlp.data import Preprocessing, default_split, open_dataset, resized_images
from allmlp.exports import export_kind, open_export
from allmlp.hardware.processor import has_exact_int8
from allmlp.io.atomic_write import write_bytes
from allmlp.model import MixerConfig
from allmlp.quantisation import unjudged_int8

__all__ = ["CALIBRATION", "Subject", "sample_images", "subject_of"]

CALIBRATION = "clothing"
"""The photos that set the ranges of int8 unless others are named: they come with allmlp."""

_NUM_CALIBRATION_PHOTOS = 8  # whatever they are, int8 is as fast


@dataclass(frozen=True, kw_only=True)
class Subject:
    """A Mixer in the forms that are measured.

    Attributes:
        description: the model without its weights.
        precisions: that its weights are in, with the source of `open_model`: "float32", and for int8 one for each width of the
            weights: "int8, 7 bits", which any processor runs, and "int8, 8 bits", which needs VNNI. Called when it is needed.
        is_export: whether it is a file that only some backends open.
    """

    description: ModelDescription
    precisions: dict[str, Callable[[], Checkpoint | Path]] = field(default_factory=dict)
    is_export: bool = False

    @property
    def config(self) -> MixerConfig:
        """The configuration."""
        return self.description.config


def subject_of(model: Checkpoint | str | Path, *, calibrate: str | Path | None, folder: Path) -> Subject:
    """Return what is measured of a checkpoint or of the file of an export.

    `calibrate` names photos that set the ranges of int8; None takes those of `CALIBRATION`. int8 files are written to `folder`.

    Raises:
        CheckpointError: not a usable export.
        DataError: no photos at `calibrate`.
    """
    if isinstance(model, Checkpoint):
        wider = {"int8, 8 bits": False} if has_exact_int8() else {}
        precisions: dict[str, Callable[[], Checkpoint | Path]] = {"float32": lambda: model}
        for name, portable in {"int8, 7 bits": True, **wider}.items():
            precisions[name] = _int8_file(model, calibrate, folder / f"int8-{portable}.onnx", portable=portable)
        return Subject(description=model.description, precisions=precisions)
    assert export_kind(model) is not None
    path, info = Path(model), open_export(model).info
    name = info.precision if info.quantisation is None else f"int8, {info.quantisation.weight_bits} bits"
    return Subject(description=info.description, precisions={name: lambda: path}, is_export=True)


def sample_images(preprocessing: Preprocessing, number: int, photos: str | Path = CALIBRATION) -> NDArray[np.uint8]:
    """Return at most so many photos of the split to score, evenly spaced, resized: uint8 (n, H, W, 3).

    Raises:
        DataError: no photos at `photos`.
    """
    splits = open_dataset(photos).splits
    split = splits[default_split(splits)]
    chosen = np.linspace(0, len(split) - 1, min(number, len(split))).astype(np.int64)
    return np.stack(list(resized_images(split.subset(chosen), preprocessing, num_workers=1)))


def _int8_file(
    checkpoint: Checkpoint, calibrate: str | Path | None, path: Path, *, portable: bool
) -> Callable[[], Path]:
    def written() -> Path:
        if not path.exists():
            photos = CALIBRATION if calibrate is None else calibrate
            images = sample_images(checkpoint.preprocessing, _NUM_CALIBRATION_PHOTOS, photos)
            write_bytes(path, unjudged_int8(checkpoint, images, portable=portable))
        return path

    return written
