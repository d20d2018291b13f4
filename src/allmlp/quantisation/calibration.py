"""What the layers of a Mixer get as inputs, measured on photos."""

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from allmlp.checkpoints import Checkpoint
from allmlp.exports import is_token_mixing, layer_widths

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["LayerInputs", "measure_inputs"]

_PATCHES = "patch_projection"


class LayerInputs(NamedTuple):
    """The inputs x of a layer, over photos and over all that it is applied to.

    Attributes:
        low, high: the smallest and the largest value of each channel, float32 (C,). Channels are the last axis of the input,
            but in token mixing the one before.
        moments: the mean of x xᵀ, float32 (inputs, inputs); zeros (1, 1) where they were not asked for.
    """

    low: NDArray[np.float32]
    high: NDArray[np.float32]
    moments: NDArray[np.float32]


def measure_inputs(
    checkpoint: Checkpoint, batches: Iterable[NDArray[np.float32]], *, with_moments: bool = True
) -> dict[str, LayerInputs]:
    """Run a Mixer in float32 on batches of pre-processed images (B, 3, H, W), and return the inputs of its layers by name.

    The range of the patches is that of all colours, whatever the photos. Moments take several times as long as the Mixer.
    """
    import torch

    model = checkpoint.build().eval()
    found: dict[str, LayerInputs] = {}
    num_rows: dict[str, int] = {}

    def add(name: str, x: "Tensor") -> None:
        rows = x.reshape(-1, x.shape[-1])
        channels = x.amin(-1) if is_token_mixing(name) else rows  # (B, C), or (n, inputs)
        low = channels.amin(0).numpy()
        high = (x.amax(-1) if is_token_mixing(name) else rows).amax(0).numpy()
        moments = (rows.T @ rows).numpy() if with_moments else np.zeros((1, 1), np.float32)
        if name in found:
            before = found[name]
            low, high = np.minimum(low, before.low), np.maximum(high, before.high)
            moments = moments + before.moments
        found[name] = LayerInputs(low, high, moments)
        num_rows[name] = num_rows.get(name, 0) + len(rows)

    names = [name for name in layer_widths(checkpoint.config) if name != _PATCHES]
    hooks = [model.get_submodule(name).register_forward_pre_hook(_observer(name, add)) for name in names]
    P = checkpoint.config.patch_size
    try:
        with torch.inference_mode():
            for images in batches:
                x = torch.from_numpy(images)
                add(_PATCHES, torch.nn.functional.unfold(x, P, stride=P).transpose(1, 2))  # (B, S, 3 P P)
                model(x)
    finally:
        for hook in hooks:
            hook.remove()
    means = {name: each._replace(moments=each.moments / np.float32(num_rows[name])) for name, each in found.items()}
    preprocessing = checkpoint.preprocessing
    ends = [
        (end - mean) / std for mean, std in zip(preprocessing.mean, preprocessing.std, strict=True) for end in (0, 1)
    ]
    low, high = (np.full_like(means[_PATCHES].low, end) for end in (min(ends), max(ends)))
    return {**means, _PATCHES: means[_PATCHES]._replace(low=low, high=high)}


def _observer(name: str, add: "Callable[[str, Tensor], None]") -> Callable[[Any, tuple[Any, ...]], None]:
    return lambda _, inputs: add(name, inputs[0])
