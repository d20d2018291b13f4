"""From a file to a Checkpoint and back."""

from allmlp.checkpoints.checkpoint import Checkpoint
from allmlp.checkpoints.native import load_checkpoint, save_checkpoint

__all__ = ["Checkpoint", "load_checkpoint", "save_checkpoint"]
