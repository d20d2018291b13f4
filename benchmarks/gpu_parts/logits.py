"""Logits of every variant on the device against those of the CPU in float32, with random weights."""

import contextlib

import numpy as np

from gpu_parts.settings import Settings

_VARIANTS = ("S/32", "S/16", "B/32", "B/16", "L/32", "L/16", "H/14")
_NUM_IMAGES = 4
_PRECISIONS = ("float32", "float32 with TF32", "bfloat16")
_COPIES = 4  # of the weights in the memory of the CPU: the checkpoint, two Mixers, and what a copy needs


def measure(settings: Settings, save):
    """Save the largest difference of a logit, relative to the largest logit, by variant and precision."""
    import torch

    from allmlp.hardware.memory import free_memory
    from allmlp.model import num_parameters

    figures = {"num_images": settings.batch(_NUM_IMAGES), "variants": {}}
    for variant in ("tiny",) if settings.is_quick else _VARIANTS:
        config = settings.config(variant)
        needed = 4 * num_parameters(config) * _COPIES
        if free_memory() < needed:
            figures["variants"][variant] = {"left_out": f"needs {needed / 2**30:.0f} GiB of free memory"}
        else:
            try:
                figures["variants"][variant] = _differences(config, settings, variant)
            except torch.OutOfMemoryError as error:
                figures["variants"][variant] = {"left_out": str(error).splitlines()[0][:200]}
        save(figures)


def _differences(config, settings, variant):
    from allmlp import open_model
    from allmlp.bench import random_checkpoint

    checkpoint = random_checkpoint(config, source=variant)
    shape = (settings.batch(_NUM_IMAGES), 3, *config.image_size)
    images = np.random.default_rng(0).standard_normal(shape, dtype=np.float32)
    expected = open_model(checkpoint, backend="eager", device="cpu").forward(images)
    assert len(np.unique(expected)) > 1, "a classifier of zeros says nothing"
    found = {}
    for name in _PRECISIONS:
        precision = "bfloat16" if name == "bfloat16" else "float32"
        with _tf32() if "TF32" in name else contextlib.nullcontext():
            logits = open_model(checkpoint, backend="eager", device=settings.device, precision=precision).forward(
                images
            )
        difference = float(np.abs(logits - expected).max() / np.abs(expected).max())
        agreement = float((logits.argmax(axis=1) == expected.argmax(axis=1)).mean())
        found[name] = {"largest_relative_difference": float(f"{difference:.3g}"), "top1_agreement": agreement}
    return found


@contextlib.contextmanager
def _tf32():
    """Allow TF32 in matrix products, which torch does not by default."""
    import torch

    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)
