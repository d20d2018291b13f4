"""The Mixer inside a torch module of a program, and copies of its weights."""

from typing import TYPE_CHECKING

from allmlp.errors import ConfigError
from allmlp.io.display import summarise

if TYPE_CHECKING:
    from torch import Tensor

    from allmlp.model import MlpMixer

__all__ = ["copied_weights", "unwrapped_mixer"]


def copied_weights(mixer: "MlpMixer") -> "dict[str, Tensor]":
    """Return the weights of a module on the CPU. Raises ConfigError if some are quantised or without data."""
    import torch

    state = mixer.state_dict()
    bad = [
        name
        for name, weight in state.items()
        if not isinstance(weight, torch.Tensor) or weight.is_quantized or weight.is_meta
    ]
    if bad:
        raise ConfigError(
            f"module has weights that are quantised or without data (on the meta device): {summarise(bad, limit=3)}. "
            "Give the module that was trained, as Checkpoint.build returns it."
        )
    return {name: weight.detach().cpu().clone() for name, weight in state.items()}


def unwrapped_mixer(module: object) -> "MlpMixer":
    """Return the Mixer inside the wrappers of torch: DistributedDataParallel, DataParallel and torch.compile."""
    from torch import nn

    from allmlp.model import MlpMixer

    inner = module
    for _ in range(4):
        if isinstance(inner, MlpMixer):
            return inner
        inner = getattr(inner, "_orig_mod", None) or getattr(inner, "module", None)
    parts = module.named_modules() if isinstance(module, nn.Module) else ()
    inside = next((name for name, part in parts if isinstance(part, MlpMixer)), "")
    raise ConfigError(
        f"module is of type {type(module).__name__}; expected an MlpMixer, such as Checkpoint.build returns."
        + (f" It contains one: give its part {inside!r}." if inside else "")
    )
