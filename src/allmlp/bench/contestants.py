"""Contestants of our own: every backend in every precision that this processor has."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from allmlp.checkpoints import Checkpoint, ModelDescription
from allmlp.data import Preprocessing
from allmlp.errors import AllmlpError
from allmlp.inference import BACKENDS, check_installed, open_model
from allmlp.model import MixerConfig, MlpMixer

__all__ = ["Contestant", "Images", "own_contestants", "random_checkpoint"]

Images = NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class Contestant:
    """Something that classifies images.

    Attributes:
        name: "allmlp-eager", "timm-eager".
        precision: "float32" or "bfloat16".
        is_peer: whether it is another implementation.
        is_compiled: whether opening it takes a minute or more.
        open: from a batch size to a function of images (B, 3, H, W) of that size.
        num_warm_up_images: that it must have computed before it has its full speed.
    """

    name: str
    precision: str
    is_peer: bool
    is_compiled: bool
    open: Callable[[int], Callable[[Images], Any]]
    num_warm_up_images: int = 1


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
    checkpoint: Checkpoint, precisions: Sequence[str], backends: Sequence[str]
) -> Iterator[Contestant | tuple[str, str]]:
    """Yield these backends in these precisions; for one that cannot run here, its name and the reason."""
    for backend in backends:
        entry = BACKENDS[backend]
        for precision in precisions:
            name = f"allmlp-{backend}"
            try:
                check_installed(backend, entry)
            except AllmlpError as error:
                yield name, str(error)
                break
            if precision not in entry.precisions:
                yield f"{name}, {precision}", "the backend lacks this precision"
                continue
            yield Contestant(
                name=name,
                precision=precision,
                is_peer=False,
                is_compiled=backend == "compiled",
                open=_opener(checkpoint, backend, precision),
                num_warm_up_images=_NUM_WARM_UP_IMAGES,
            )


def _opener(checkpoint: Checkpoint, backend: str, precision: str) -> Callable[[int], Callable[[Images], Any]]:
    # One model for all batch sizes, as a user has it.
    opened: list[Callable[[Images], Any]] = []

    def open_it(batch_size: int) -> Callable[[Images], Any]:  # noqa: ARG001
        if not opened:
            opened.append(open_model(checkpoint, backend=backend, device="cpu", precision=precision).forward)
        return opened[0]

    return open_it
