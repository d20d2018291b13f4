"""What all parts share: the device, the time of a part, and the Mixers that are measured."""

import importlib.util
import time
from dataclasses import dataclass, field

__all__ = ["TINY", "Settings", "has_timm", "one_process", "synchronise"]

TINY = {
    "image_size": 32,
    "patch_size": 8,
    "num_blocks": 2,
    "hidden_dim": 16,
    "tokens_mlp_dim": 8,
    "channels_mlp_dim": 32,
    "num_classes": 8,
}


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How a part measures.

    device: "cuda" or "cpu".
    is_quick: whether tiny Mixers replace the variants, a few images the batches, and a trivial compiler the real one, so that
        all code runs within a minute on a CPU.
    seconds: the time limit of the part.
    """

    device: str
    is_quick: bool
    seconds: float
    started: float = field(default_factory=time.monotonic)

    def config(self, variant):
        """Return the configuration of a variant, or the tiny one."""
        from allmlp.model import MixerConfig, variant_config

        return MixerConfig(**TINY) if self.is_quick else variant_config(variant)

    def batch(self, size):
        """Return a batch size, or a tiny one."""
        return min(size, 4) if self.is_quick else size

    def share(self, fraction):
        """Return this fraction of the part's time, in seconds; little if everything is tiny."""
        return 0.05 if self.is_quick else fraction * self.seconds

    def seconds_left(self, *, reserve=0.1):
        """Return the time until the limit, less a reserve: a fraction of the limit."""
        return self.started + (1.0 - reserve) * self.seconds - time.monotonic()


def has_timm():
    return importlib.util.find_spec("timm") is not None


def synchronise(device):
    """Wait for everything that the device still computes."""
    import torch

    if device.startswith("cuda"):
        torch.cuda.synchronize()


def one_process(device):
    """Return a group of this process alone."""
    from allmlp.training import ProcessGroup

    return ProcessGroup(rank=0, count=1, device=device)
