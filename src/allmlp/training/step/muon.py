"""Muon for CPUs that emulate bfloat16: torch's update in float32, with small matrices of equal shape in one batch."""

import math
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from allmlp.hardware.devices import has_native_bfloat16
from allmlp.training.distributed.sharding import full_tensor, shard_like

__all__ = ["Float32Muon", "muon_class", "orthogonalize"]

# Values per matrix; a larger matrix keeps the CPU busy by itself, and a batch of such would cost memory.
_LARGEST_BATCHED = 512 * 512


class Float32Muon(torch.optim.Muon):
    """torch.optim.Muon with its own `step`; settings and state are those of torch.

    torch orthogonalises the matrices one by one, in bfloat16. A CPU without bfloat16 instructions emulates it, and recipe
    `demo` then spends two thirds of a step in the optimizer (benchmarks/results/muon.json). The update equals torch's up to
    bfloat16 rounding (8 bits).
    """

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """Take one step on every parameter that has a gradient."""
        if closure is not None:
            raise ValueError("a closure is not supported")
        for group in self.param_groups:
            self._step_group(group)
        return None

    def _step_group(self, group: dict[str, Any]) -> None:
        parameters = [parameter for parameter in group["params"] if parameter.grad is not None]
        if not parameters:
            return
        gradients = [parameter.grad for parameter in parameters]
        buffers = [self._momentum_buffer(parameter) for parameter in parameters]
        momentum, learning_rate = group["momentum"], group["lr"]
        torch._foreach_lerp_(buffers, gradients, 1.0 - momentum)
        directions = torch._foreach_lerp(gradients, buffers, momentum)  # Nesterov, torch's default
        updates = _orthogonalized(
            directions, coefficients=group["ns_coefficients"], num_steps=group["ns_steps"], eps=group["eps"]
        )
        torch._foreach_mul_(parameters, 1.0 - learning_rate * group["weight_decay"])
        for parameter, update in zip(parameters, updates, strict=True):
            rows, columns = parameter.shape
            parameter.add_(update, alpha=-learning_rate * math.sqrt(max(1.0, rows / columns)))

    def _momentum_buffer(self, parameter: Tensor) -> Tensor:
        state = self.state[parameter]
        if "momentum_buffer" not in state:
            state["momentum_buffer"] = torch.zeros_like(parameter)
        buffer: Tensor = state["momentum_buffer"]
        return buffer


def muon_class(device: str) -> type[torch.optim.Muon]:
    """Return the Muon class for "cpu", "cuda", "cuda:<number>" or "mps": torch's if the device has native bfloat16."""
    return torch.optim.Muon if has_native_bfloat16(device) else Float32Muon


def _orthogonalized(directions: Sequence[Tensor], **options: Any) -> list[Tensor]:
    """Return each matrix orthogonalised; small matrices of equal shape, up to transposition, form one batch.

    Sharded matrices are gathered first, so all processes must call this.
    """
    batches: dict[tuple[int, ...], list[int]] = defaultdict(list)
    for index, direction in enumerate(directions):
        shape = tuple(sorted(direction.shape))
        batches[shape if math.prod(shape) <= _LARGEST_BATCHED else (*shape, index)].append(index)
    results = list(directions)
    for indices in batches.values():
        is_tall = [directions[index].shape[0] > directions[index].shape[1] for index in indices]
        matrices = [full_tensor(directions[index]) for index in indices]
        wide = torch.stack([matrix.T if tall else matrix for matrix, tall in zip(matrices, is_tall, strict=True)])
        for index, tall, matrix in zip(indices, is_tall, orthogonalize(wide, **options), strict=True):
            results[index] = shard_like(matrix.T if tall else matrix, directions[index])
    return results


def orthogonalize(matrices: Tensor, *, coefficients: tuple[float, float, float], num_steps: int, eps: float) -> Tensor:
    """Return float32 matrices (n, rows, columns), rows <= columns, with singular values near 1 (0.7 to 1.2).

    This is the Newton-Schulz iteration X <- a X + (b A + c A A) X with A = X X^T. A zero matrix stays zero.
    Source: Keller Jordan, https://kellerjordan.github.io/posts/muon/; torch.optim.Muon computes the same, in bfloat16.
    """
    a, b, c = coefficients
    norms = torch.linalg.matrix_norm(matrices, keepdim=True).clamp(min=eps)
    x: Tensor = matrices / norms  # so that the spectral norm is at most 1
    for _ in range(num_steps):
        gram = x @ x.mT  # (n, rows, rows)
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x
