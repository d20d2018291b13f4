"""What no other form holds of a checkpoint."""

from allmlp.checkpoints.checkpoint import Checkpoint

__all__ = ["unsupported_temperature"]


def unsupported_temperature(checkpoint: Checkpoint) -> tuple[str, ...]:
    """Return a sentence about the temperature where it is not 1. It is not worked into the weights: logits stay the same."""
    if checkpoint.temperature == 1.0:
        return ()
    return (
        f"The temperature, {checkpoint.temperature:.4g}: probabilities there are the softmax of the logits as they are, which "
        "allmlp divides by it first. No prediction changes.",
    )
