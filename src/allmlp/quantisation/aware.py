"""The last resort of int8: an epoch of training in which a Mixer rounds as its file will, and learns float32's logits.

Rounding has no slope, so that gradients pass it as if it were not there ("straight through"). Labels are not needed. The ranges
of inputs and the scales of weights stay those that were found before.

Sources: Jacob et al., arXiv:1712.05877, section 3 (training with simulated integers); Bengio, Léonard, Courville,
arXiv:1308.3432 (straight through); Hinton, Vinyals, Dean, arXiv:1503.02531, section 2.1 (matching of logits).
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from allmlp.checkpoints import Checkpoint
from allmlp.exports import MAX_INPUT, MAX_WEIGHT, Quantisation, QuantisedWeight, input_grid, is_token_mixing

if TYPE_CHECKING:
    from torch import Tensor, nn

__all__ = ["MIN_TRAINING_PHOTOS", "TRAINED", "RoundedMixer", "trained_plan"]

MIN_TRAINING_PHOTOS = 64
"""With fewer photos, an epoch has too few steps, and a Mixer would learn these photos by heart."""

TRAINED = ", trained for an epoch"
"""Follows the name of an attempt in the note of its file."""

_LEARNING_RATE = 1e-4  # of AdamW at the first step, from which it falls linearly to 0
_BATCH_SIZE = 8
_SEED = 0


class _Matrix(NamedTuple):
    """How the matrix (outputs, inputs) of a layer becomes integers: divided by `steps`, at most `limit`."""

    steps: "Tensor"
    limit: int

    def integers(self, weight: "Tensor") -> "Tensor":
        return (weight.flatten(1) / self.steps).round().clamp(-self.limit, self.limit)

    def rounded(self, weight: "Tensor") -> "Tensor":
        """Return the weight with the values of its integers, whose gradient is that of the weight."""
        values = (self.integers(weight) * self.steps).reshape(weight.shape)
        return weight + (values - weight).detach()


class RoundedMixer:
    """A Mixer in torch that computes what an int8 file computes, with weights in float32 that can be trained.

    Attributes:
        weights: by name; at first, matrices have the values of the plan's integers. From their weights in float32, of which
            many are near the middle between two integers, the first steps would change those at random.
    """

    def __init__(self, checkpoint: Checkpoint, plan: Quantisation, bits: int) -> None:
        import torch

        self._model = checkpoint.build().eval()
        self._plan = plan
        self._matrices: dict[str, _Matrix] = {}
        self.weights = {name: weight.detach().clone() for name, weight in self._model.named_parameters()}
        for layer, (integers, scales) in plan.weights.items():
            steps = torch.from_numpy(scales)[:, None].expand(integers.shape[::-1])
            if layer in plan.divisors and not is_token_mixing(layer):  # by which the weights were multiplied
                steps = steps / torch.from_numpy(plan.divisors[layer])
            matrix = _Matrix(steps, MAX_WEIGHT[bits if layer in plan.inputs else 8])
            weight, units = self.weights[f"{layer}.weight"], torch.from_numpy(integers.T.astype(np.float32))
            self.weights[f"{layer}.weight"] = (units * steps).reshape(weight.shape)
            self._matrices[layer] = matrix
        for layer, ends in plan.inputs.items():
            hook = _input_hook(*input_grid(*ends), self._divisor(layer))
            self._model.get_submodule(layer).register_forward_pre_hook(hook)
        for weight in self.weights.values():
            weight.requires_grad_()

    def __call__(self, images: "Tensor") -> "Tensor":
        """Return the logits (B, K) of images (B, 3, H, W)."""
        import torch

        rounded = {
            f"{layer}.weight": matrix.rounded(self.weights[f"{layer}.weight"])
            for layer, matrix in self._matrices.items()
        }
        logits: Tensor = torch.func.functional_call(self._model, {**self.weights, **rounded}, (images,))
        return logits

    def plan(self) -> Quantisation:
        """Return what becomes integers: the plan with the present weights."""
        weights = {}
        for layer, matrix in self._matrices.items():
            integers = matrix.integers(self.weights[f"{layer}.weight"].detach()).T.numpy()
            weights[layer] = QuantisedWeight(integers.astype(np.int8), self._plan.weights[layer].scales)
        floats = {
            name: weight.detach().numpy()
            for name, weight in self.weights.items()
            if name.removesuffix(".weight") not in self._matrices
        }
        return Quantisation(weights=weights, inputs=self._plan.inputs, divisors=self._plan.divisors, floats=floats)

    def _divisor(self, layer: str) -> "Tensor | None":
        """Return the divisor of a layer's input, which in token mixing is (B, C, S)."""
        import torch

        if layer not in self._plan.divisors:
            return None
        divisor = torch.from_numpy(self._plan.divisors[layer])
        return divisor[:, None] if is_token_mixing(layer) else divisor


def trained_plan(checkpoint: Checkpoint, plan: Quantisation, photos: NDArray[np.uint8], bits: int) -> Quantisation:
    """Train a Mixer for an epoch with the rounding of a plan, and return the plan with its new weights.

    Args:
        checkpoint: the Mixer in float32, whose logits are learnt.
        plan: what becomes integers.
        photos: that calibrated, uint8 (n, H, W, 3), resized.
        bits: of the weights of layers that multiply in integers.
    """
    import torch

    order = np.random.default_rng(_SEED).permutation(len(photos))
    batches = [order[start : start + _BATCH_SIZE] for start in range(0, len(order), _BATCH_SIZE)]
    teacher, student = checkpoint.build().eval(), RoundedMixer(checkpoint, plan, bits)
    optimizer = torch.optim.AdamW(student.weights.values(), lr=_LEARNING_RATE, weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1 - step / len(batches))
    for batch in batches:
        images = torch.from_numpy(checkpoint.preprocessing.normalise(photos[batch]))
        with torch.no_grad():
            expected = teacher(images)
        loss = torch.nn.functional.mse_loss(student(images), expected)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        schedule.step()
    return student.plan()


def _input_hook(
    scale: np.float32, zero_point: np.uint8, divisor: "Tensor | None"
) -> Callable[["nn.Module", tuple[Any, ...]], tuple["Tensor"]]:
    """Return a hook that rounds the input of a layer to its grid; beyond its range, the gradient is 0."""
    low, high, step = -float(zero_point), float(MAX_INPUT - zero_point), float(scale)

    def rounded(_: "nn.Module", inputs: tuple[Any, ...]) -> tuple["Tensor"]:
        x: Tensor = inputs[0] if divisor is None else inputs[0] / divisor
        units = (x / step).clamp(low, high)
        units = units + (units.round() - units).detach()
        x = units * step
        return (x if divisor is None else x * divisor,)

    return rounded
