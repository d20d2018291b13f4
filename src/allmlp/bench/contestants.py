"""Contestants of our own: every backend in every precision that this processor has."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from allmlp.bench.subject import Subject
from allmlp.checkpoints import Checkpoint, ModelDescription
from allmlp.data import Preprocessing
from allmlp.errors import AllmlpError
from allmlp.inference import BACKENDS, check_installed, open_model
from allmlp.model import MixerConfig, MlpMixer

__all__ = ["Contestant", "Images", "Opened", "own_contestants", "random_checkpoint"]

Images = NDArray[np.float32]


@dataclass(frozen=True)
class Opened:
    """An open contestant: a function of images (B, 3, H, W), and the settings of its engine, for people and JSON."""

    call: Callable[[Images], Any]
    settings: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Contestant:
    """Something that classifies images.

    Attributes:
        name: "allmlp-eager", "timm-eager".
        precision: "float32", "bfloat16", "int8, 7 bits" or "int8, 8 bits".
        is_peer: whether it is another implementation.
        is_compiled: whether opening it takes a minute or more.
        open: opens it for a batch size.
        source: of `open_model`, for a fresh process; None for peers.
        num_warm_up_images: that it must have computed before it has its full speed.
    """

    name: str
    precision: str
    is_peer: bool
    is_compiled: bool
    open: Callable[[int], Opened]
    source: Callable[[], Checkpoint | Path] | None = None
    num_warm_up_images: int = 1

    @property
    def label(self) -> str:
        """Its name and its precision."""
        return f"{self.name}, {self.precision}"


def random_checkpoint(config: MixerConfig, *, source: str) -> Checkpoint:
    """Return a Mixer with random weights, the classifier's too."""
    import torch

    mixer = MlpMixer(config)
    if mixer.head is not None:
        torch.nn.init.normal_(mixer.head.weight, std=0.02, generator=torch.Generator().manual_seed(0))
    description = ModelDescription(
        config=config,
        preprocessing=Preprocessing(image_size=config.image_size),
        class_names=tuple(map(str, range(config.num_classes))),
        source=source,
    )
    return Checkpoint(description=description, weights=mixer.state_dict())


# After 4 x 16 images, the backends have tested their largest micro-batch (inference/backends/micro_batches.py).
_NUM_WARM_UP_IMAGES = 81


def own_contestants(
    subject: Subject, precisions: Sequence[str], backends: Sequence[str]
) -> Iterator[Contestant | tuple[str, str]]:
    """Yield these backends in these precisions; for one that cannot run here, its name and the reason.

    `precisions` are "float32", "bfloat16" and "int8"; the last one stands for each width of the weights that there is.
    """
    for backend in backends:
        entry = BACKENDS[backend]
        name = f"allmlp-{backend}"
        sources = list(subject.precisions.items())
        if subject.is_export and not entry.recognises(str(sources[0][1]())):
            yield name, "it does not open this export"
            continue
        try:
            check_installed(backend, entry)
        except AllmlpError as error:
            yield name, str(error)
            continue
        for precision in precisions:
            found = [
                (key, source) for key, source in sources if key.partition(",")[0] in (precision, _stored(precision))
            ]
            if precision == "int8" and not entry.recognises("x.onnx"):
                yield f"{name}, {precision}", "the backend runs no int8 files"
            elif precision not in ("int8", *entry.precisions):
                yield (
                    f"{name}, {precision}",
                    _NO_PRECISION.get((backend, precision), "the backend lacks this precision"),
                )
            elif not found:
                yield f"{name}, {precision}", "this export has another precision"
            else:
                for key, source in found:
                    stored = precision if precision != "int8" else key
                    yield _contestant(name, backend, stored, source)


_NO_PRECISION = {("onnxruntime", "bfloat16"): "ONNX Runtime computes in it only on ARM, where allmlp was not tested"}


def _stored(precision: str) -> str:
    """Return the precision of the weights that are computed in a precision: bfloat16 is rounded from float32."""
    return "int8" if precision == "int8" else "float32"


def _contestant(name: str, backend: str, precision: str, source: Callable[[], Checkpoint | Path]) -> Contestant:
    # One model for all batch sizes, as a user has it.
    opened: list[Opened] = []

    def open_it(batch_size: int) -> Opened:  # noqa: ARG001
        if not opened:
            asked = precision if precision in ("float32", "bfloat16") else "auto"
            model = open_model(source(), backend=backend, device="cpu", precision=asked)
            opened.append(Opened(model.forward, model.settings))
        return opened[0]

    return Contestant(
        name=name,
        precision=precision,
        is_peer=False,
        is_compiled=backend == "compiled",
        open=open_it,
        source=source,
        num_warm_up_images=_NUM_WARM_UP_IMAGES,
    )
