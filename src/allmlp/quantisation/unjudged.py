"""int8 models for measurements of speed, whose accuracy nobody has measured."""

import numpy as np
from numpy.typing import NDArray

from allmlp.checkpoints import Checkpoint, as_arrays
from allmlp.exports import QuantisationNote, onnx_bytes
from allmlp.quantisation.calibration import measure_inputs
from allmlp.quantisation.search import ATTEMPTS, plan_layers

__all__ = ["unjudged_int8"]


def unjudged_int8(checkpoint: Checkpoint, photos: NDArray[np.uint8], *, portable: bool = True) -> bytes:
    """Return an ONNX model with all layers in int8: the operators and the shapes of `export_int8`, so that it is as fast.

    Weights are rounded to the nearest integers, which takes seconds instead of minutes and may cost accuracy.

    Args:
        checkpoint: any, also one with random weights.
        photos: which set the ranges of the layers, uint8 (n, H, W, 3), resized.
        portable: whether weights have 7 bits; with 8, the file needs a processor with VNNI.

    Raises:
        ConfigError: the model is larger than the 2 GiB of an ONNX file.
        MissingExtraError: onnx is not installed.
    """
    attempt, model = ATTEMPTS[0], as_arrays(checkpoint)
    inputs = measure_inputs(checkpoint, [checkpoint.preprocessing.normalise(photos)], with_moments=False)
    plan = plan_layers(attempt, model, inputs, 7 if portable else 8, {})
    note = QuantisationNote(
        attempt=attempt.name,
        num_integer_layers=len(plan.inputs),
        weight_bits=7 if portable else 8,
        needs_vnni=not portable,
        min_agreement=0.0,
        num_calibration_photos=len(photos),
        num_judging_photos=0,
        agreement=0.0,
        num_clear_photos=0,
        clear_agreement=0.0,
    )
    return onnx_bytes(model, plan, note)
