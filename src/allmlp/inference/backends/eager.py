"""The backends of PyTorch, for any checkpoint and .pt2 file on any device: eager, and compiled.

On a CPU, they compute in micro-batches; on a GPU, in batches as large as the calls, or in micro-batches on request
(micro_batches.py). "compiled" is torch.compile with the weights as constants. It compiles once for each size of a batch, for a
minute or more on a CPU, before the first answer.
"""

import os
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal, cast

import numpy as np
from numpy.typing import NDArray

from allmlp.checkpoints import Checkpoint
from allmlp.errors import ConfigError
from allmlp.exports import TorchExport, export_kind, open_export
from allmlp.hardware.cpp_compiler import finds_cpp_compiler
from allmlp.hardware.devices import choose_device
from allmlp.inference.backends.micro_batches import (
    LARGEST_MICRO_BATCH,
    MICRO_BATCH_SIZES,
    in_micro_batches,
    num_outputs,
)
from allmlp.inference.runnable import Output, RunnableModel
from allmlp.metrics import Forward

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["eager_forward", "open_compiled", "open_eager", "recognises"]

# Each size is compiled separately; torch compiles at most 8.
_COMPILED_SIZES = (1, LARGEST_MICRO_BATCH["cpu"])
_COMPILED_SIZES_OF_GPU = (1, 4, 16, 64, 256)


def recognises(source: str | Path | Checkpoint) -> bool:
    """Return True for every path, name or checkpoint but other exports: `load_checkpoint` reports what it cannot read."""
    return isinstance(source, str | os.PathLike | Checkpoint) and export_kind(source) in (None, "torch")


def open_eager(
    source: str | Path | Checkpoint, device: str, precision: str, output: Output, *, exact: bool = False
) -> RunnableModel:
    """Load a source unless it is a `Checkpoint` already, and make it runnable.

    `precision` "auto" means float32, or that of a .pt2 file.

    Raises:
        CheckpointError: nothing usable at `source`.
        ConfigError: an unavailable device, or an unknown precision.
    """
    return _open(source, device, precision, output, compiled=False, exact=exact)


def open_compiled(
    source: str | Path | Checkpoint, device: str, precision: str, output: Output, *, exact: bool = False
) -> RunnableModel:
    """The same, compiled by torch.compile.

    Raises:
        CheckpointError: nothing usable at `source`.
        ConfigError: an unavailable device, an unknown precision, or a CPU without a C++ compiler.
    """
    return _open(source, device, precision, output, compiled=True, exact=exact)


def _open(
    source: str | Path | Checkpoint, device: str, precision: str, output: Output, *, compiled: bool, exact: bool
) -> RunnableModel:
    checkpoint, own = _loaded(source)
    chosen = cast("Literal['float32', 'bfloat16']", own if precision == "auto" else precision)
    network = _headless(checkpoint) if output == "features" else checkpoint
    forward_of = _eager_forwards(network, device=device, precision=chosen, compiled=compiled, exact=exact)
    with_features = partial(forward_of, with_features=True) if network.config.num_classes else None
    import torch

    settings = {"num_threads": torch.get_num_threads()}
    return RunnableModel(forward_of(), checkpoint.description, output, settings=settings, with_features=with_features)


def _loaded(source: str | Path | Checkpoint) -> tuple[Checkpoint, str]:
    """Return a checkpoint, and its precision. Of a .pt2 file, the weights are read, and the program is not run."""
    if isinstance(source, Checkpoint):
        return source, "float32"
    if export_kind(source) != "torch":
        from allmlp.checkpoints import load_checkpoint  # with all its formats, which an export does not need

        return load_checkpoint(source), "float32"
    export = open_export(source)
    assert isinstance(export, TorchExport)
    return export.checkpoint(), export.info.precision


def _headless(checkpoint: Checkpoint) -> Checkpoint:
    return checkpoint.replace(
        config=replace(checkpoint.config, num_classes=0),
        weights={name: weight for name, weight in checkpoint.weights.items() if not name.startswith("head.")},
        class_names=(),
    )


def eager_forward(
    checkpoint: Checkpoint,
    *,
    device: str = "auto",
    precision: Literal["float32", "bfloat16"] = "float32",
    compiled: bool = False,
    exact: bool = False,
) -> Forward:
    """Return a `Forward` that runs the Mixer in PyTorch, eager or compiled.

    It takes float32 (B, 3, H, W) for any B, including 0, and returns float32 (B, K). On a CPU, the logits of an image do not
    depend on the rest of its batch; on a GPU, their last bits may, unless `exact` (micro_batches.py).

    Args:
        checkpoint: the Mixer to run; its weights are copied to the device.
        device: "auto", "cpu", "cuda" or "mps".
        precision: of the matrix products; "bfloat16" keeps the weights and the norms in float32 (torch.autocast).
        compiled: whether to use torch.compile.
        exact: whether a GPU, too, computes in micro-batches of one size: slower. No effect on a CPU.

    Raises:
        ConfigError: an unavailable device, an unknown precision, or nothing that compiles for a CPU.
    """
    return _eager_forwards(checkpoint, device=device, precision=precision, compiled=compiled, exact=exact)()


def _eager_forwards(
    checkpoint: Checkpoint,
    *,
    device: str,
    precision: Literal["float32", "bfloat16"],
    compiled: bool,
    exact: bool,
) -> Callable[..., Forward]:
    """Return a function that returns a forward: to the logits, or with `with_features` to logits and features (B, K + C)."""
    import torch

    if precision not in ("float32", "bfloat16"):
        raise ConfigError(f"precision is {precision!r}; expected 'float32' or 'bfloat16'.")
    device = choose_device(device)
    model = checkpoint.build().to(device).eval()
    sample_shape = (3, *checkpoint.config.image_size)
    num_rows = LARGEST_MICRO_BATCH[device] if exact or device == "cpu" else 0
    features_of = _compiled(model.features, device) if compiled else model.features

    def compute(images: NDArray[np.float32], size: int, *, with_features: bool) -> NDArray[np.float32]:
        # Allocated by torch, so that its memory is aligned: the results of matrix kernels may depend on alignment, too.
        padded = torch.zeros(size, *sample_shape)
        padded.numpy()[: len(images)] = images
        with torch.inference_mode(), torch.autocast(device, torch.bfloat16, enabled=precision == "bfloat16"):
            features = features_of(padded.to(device))
            # The only product whose number of rows is that of the images: for few rows there are other kernels.
            logits = model(torch.nn.functional.pad(features, (0, 0, 0, max(0, num_rows - size))))
            rows = torch.cat([logits[:size], features], dim=1) if with_features else logits
            outputs: NDArray[np.float32] = rows.float().cpu().numpy()
        return outputs[: len(images)]

    config = checkpoint.config
    sizes: tuple[int, ...] | None = _COMPILED_SIZES if compiled else MICRO_BATCH_SIZES[:-1]
    if device != "cpu":
        sizes = _COMPILED_SIZES_OF_GPU if compiled else None
    engine = ("torch", precision, compiled, torch.get_num_threads())

    def forward_of(*, with_features: bool = False) -> Forward:
        return in_micro_batches(
            partial(compute, with_features=with_features),
            config,
            device=device,
            width=num_outputs(config, "logits") + with_features * config.hidden_dim,
            sizes=sizes,
            engine=engine,
            exact=exact,
        )

    return forward_of


def _compiled(function: Callable[["Tensor"], "Tensor"], device: str) -> Callable[["Tensor"], "Tensor"]:
    import torch

    if device == "cpu" and not finds_cpp_compiler():
        raise ConfigError(
            "The backend compiled needs a C++ compiler, and torch.compile finds none. Install one (g++ or clang++), name it in "
            "the environment variable CXX, or use backend 'eager'."
        )
    compiled: Callable[[Tensor], Tensor] = torch.compile(function, dynamic=False, options={"freezing": True})
    return compiled
