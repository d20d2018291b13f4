"""Runnable models: a forward and the description of its model."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from numbers import Integral
from typing import Any, Literal, NoReturn

import numpy as np
from numpy.typing import NDArray

from allmlp.checkpoints import ModelDescription
from allmlp.data import Preparation
from allmlp.errors import CheckpointError, ConfigError
from allmlp.io.display import escape, quote, shorten
from allmlp.metrics import Forward

__all__ = ["Output", "RunnableModel", "check_finite", "check_model", "check_positive", "refuse_pickle"]

Output = Literal["logits", "features"]


@dataclass(frozen=True)
class RunnableModel:
    """A model that is ready for inference.

    Attributes:
        forward: from pre-processed images, float32 (B, 3, H, W), to logits (B, K), or to features (B, C).
        description: the model's configuration, pre-processing, class names and temperature.
        output: what `forward` returns.
        backend: its name in `BACKENDS`; "" for a model of your own.
        remark: why "auto" took this backend, for people; "" for PyTorch as the default of checkpoints, and if it was named.
            And what was dropped because the pre-processing was changed.
        settings: those of the engine, as JSON, for people.
        with_features: returns a forward to the logits and the features (B, K + C) of the same model, which a threshold of
            "unknown" may need; None if `forward` returns features, or for a model of your own.
        pixels: prepares photos in place of the description's pre-processing: the graph of an export with the pixels inside.
    """

    forward: Forward
    description: ModelDescription
    output: Output = "logits"
    backend: str = ""
    remark: str = ""
    pixels: Preparation | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    with_features: Callable[[], Forward] | None = None

    @property
    def preparation(self) -> Preparation:
        """What makes images of photos."""
        return self.description.preprocessing if self.pixels is None else self.pixels


def check_model(model: object, *, batch_size: object) -> None:
    """Check what a `Predictor` or an `Embedder` is made of. Raises ConfigError."""
    if not isinstance(model, RunnableModel):
        raise ConfigError(
            f"model is {quote(model)}; expected what open_model(...) returns. From a path or a name: from_checkpoint(...)."
        )
    check_positive(batch_size, "batch_size")


def check_finite(outputs: NDArray[np.float32], names: Sequence[str] = ()) -> NDArray[np.float32]:
    """Return a model's outputs (B, ...) for photos with these names. NaN is not an answer, and a class may be made of it.

    Raises:
        CheckpointError: outputs of a photo are not finite.
    """
    is_bad = np.asarray(~np.isfinite(outputs).all(axis=tuple(range(1, outputs.ndim))))
    if is_bad.any():
        first = f", {shorten(escape(names[int(is_bad.argmax())]), 300)} first" if names else ""
        raise CheckpointError(
            f"The model's outputs are NaN or infinite for {is_bad.sum():,} of {len(is_bad):,} photos of a batch{first}, so "
            "there is no answer for them. Either its training diverged (lower the learning rate or the gradient clipping norm "
            "and train again), or the precision is too low for it (use float32)."
        )
    return outputs


def check_positive(value: object, name: str) -> None:
    """Raise a ConfigError unless `value` is an integer of at least 1."""
    if isinstance(value, bool) or not isinstance(value, Integral):
        raise ConfigError(f"{name} is {quote(value)}; expected an integer.")
    if int(value) < 1:
        raise ConfigError(f"{name} is {value}; expected at least 1.")


def refuse_pickle(self: object) -> NoReturn:
    """Raise a ConfigError that says how to use a model in another process; assigned to `__reduce__`."""
    name = type(self).__name__
    raise ConfigError(
        f"{name} objects cannot be pickled: the model is on a device of this process. Send the path of the checkpoint to the "
        f"other process, and call {name}.from_checkpoint(path) there."
    )
