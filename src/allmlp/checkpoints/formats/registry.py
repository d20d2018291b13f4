"""What a checkpoint can be written as. One entry in FORMATS per format; reading knows them by content (load.py)."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from allmlp.checkpoints.checkpoint import Checkpoint
from allmlp.checkpoints.formats.google import lost_in_google, save_google
from allmlp.checkpoints.formats.native import save_checkpoint
from allmlp.checkpoints.formats.timm import save_timm, unsupported_by_timm

__all__ = ["FORMATS", "Format"]


@dataclass(frozen=True)
class Format:
    """A form of checkpoints on disk.

    Attributes:
        save: writes a checkpoint to a path, a new folder or file, and returns it; the weights keep their bits.
        lost: says what the form cannot hold of a checkpoint, one sentence each. Raises ConfigError where it cannot hold
            the Mixer itself.
        is_folder: else one file.
    """

    save: Callable[[Checkpoint, Path], Path]
    lost: Callable[[Checkpoint], tuple[str, ...]]
    is_folder: bool


def _lost_anywhere(checkpoint: Checkpoint) -> tuple[str, ...]:
    """Return what no format but ours holds of a checkpoint, one sentence each."""
    lost = []
    if checkpoint.config.stochastic_depth or checkpoint.config.dropout:
        lost.append("Stochastic depth and dropout of the training; both leave predictions as they are.")
    if checkpoint.temperature != 1.0:  # not worked into the weights: logits stay the same
        lost.append(
            f"The temperature, {checkpoint.temperature:.4g}: probabilities there are the softmax of the logits as they are, "
            "which allmlp divides by it first. No prediction changes."
        )
    lost.append(f"Where the weights came from: {checkpoint.source}")
    return tuple(lost)


FORMATS: Mapping[str, Format] = {
    "allmlp": Format(save_checkpoint, lambda _: (), is_folder=True),
    "timm": Format(
        save_timm, lambda checkpoint: unsupported_by_timm(checkpoint) + _lost_anywhere(checkpoint), is_folder=True
    ),
    "google": Format(
        save_google, lambda checkpoint: lost_in_google(checkpoint) + _lost_anywhere(checkpoint), is_folder=False
    ),
}
