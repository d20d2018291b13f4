"""The formats in which checkpoints are written, one entry of FORMATS each. Loading recognises them by content (load.py)."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from allmlp.checkpoints.checkpoint import Checkpoint
from allmlp.checkpoints.formats.google import lost_in_google, save_google
from allmlp.checkpoints.formats.native import save_checkpoint
from allmlp.checkpoints.formats.timm import lost_in_timm, save_timm

__all__ = ["FORMATS", "Format"]


@dataclass(frozen=True)
class Format:
    """A format of checkpoints on disk.

    Attributes:
        save: writes a checkpoint to a path, a new folder or file, and returns the path; the weights keep their bits.
        lost: returns what the format cannot hold of a checkpoint, one sentence per item. Raises ConfigError if it cannot
            hold the Mixer itself.
        is_folder: whether the path is a folder; else it is a file.
    """

    save: Callable[[Checkpoint, Path], Path]
    lost: Callable[[Checkpoint], tuple[str, ...]]
    is_folder: bool


def _lost_outside_allmlp(checkpoint: Checkpoint) -> tuple[str, ...]:
    """Return what only our format can hold of a checkpoint, one sentence per item."""
    lost = []
    if checkpoint.config.stochastic_depth or checkpoint.config.dropout:
        lost.append("The stochastic depth and dropout of the training; neither affects predictions.")
    if checkpoint.temperature != 1.0:  # not folded into the weights: logits stay the same
        lost.append(
            f"The temperature, {checkpoint.temperature:.4g}: only allmlp divides the logits by it before the softmax. "
            "Elsewhere the probabilities differ; predictions do not change."
        )
    if checkpoint.unknown is not None:
        lost.append('The threshold of "unknown": elsewhere, every photo gets one of the classes.')
    lost.append(f"Where the weights came from: {checkpoint.source}")
    return tuple(lost)


FORMATS: Mapping[str, Format] = {
    "allmlp": Format(save_checkpoint, lambda _: (), is_folder=True),
    "timm": Format(
        save_timm, lambda checkpoint: lost_in_timm(checkpoint) + _lost_outside_allmlp(checkpoint), is_folder=True
    ),
    "google": Format(
        save_google, lambda checkpoint: lost_in_google(checkpoint) + _lost_outside_allmlp(checkpoint), is_folder=False
    ),
}
