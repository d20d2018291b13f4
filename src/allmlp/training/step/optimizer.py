"""The optimizers: AdamW, SGD and Muon, with decoupled weight decay on matrices only."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from allmlp.training.distributed.sharding import full_tensor, is_sharded, shard_like
from allmlp.training.recipe.configs import OptimizerConfig
from allmlp.training.step.muon import muon_class

__all__ = ["Optimizer"]


class Optimizer:
    """One or two torch optimizers that follow one schedule."""

    def __init__(self, model: nn.Module, config: OptimizerConfig, scales: Mapping[str, float] | None = None) -> None:
        """`scales`: learning-rate multipliers by parameter name; 1 for a name that is not in it."""
        self._parameters: list[Tensor] = [parameter for parameter in model.parameters() if parameter.requires_grad]
        self._names = {id(parameter): name for name, parameter in model.named_parameters()}
        self._scales = scales or {}
        self._clip_norm = config.clip_norm
        self._decayed: list[Tensor] = []
        self._weight_decay = config.weight_decay
        self._parts: list[tuple[torch.optim.Optimizer, float]] = []  # each with its peak learning rate
        matrices = [parameter for parameter in self._parameters if parameter.ndim >= 2]
        rest = [parameter for parameter in self._parameters if parameter.ndim < 2]
        if config.name == "sgd":
            # torch's SGD adds weight decay to the gradient, where momentum accumulates it; `step` applies ours separately.
            self._decayed = matrices
            is_fused = not any(map(is_sharded, matrices))  # torch has no fused SGD for sharded parameters
            rate, momentum = config.learning_rate, config.momentum
            sgd = torch.optim.SGD(self._groups(self._parameters), lr=rate, momentum=momentum, fused=is_fused)
            self._parts.append((sgd, config.learning_rate))
        elif config.name == "adamw":
            self._parts.append((self._adamw(matrices, rest, config.learning_rate, config), config.learning_rate))
        else:
            inner: list[Tensor] = []
            outer: list[Tensor] = []
            for parameter in matrices:
                is_inner = self._names[id(parameter)].startswith("blocks.") and parameter.ndim == 2
                (inner if is_inner else outer).append(parameter)
            adamw_rate = config.adamw_learning_rate
            assert adamw_rate is not None  # guaranteed by OptimizerConfig
            if inner:  # empty if only the classifier is trained
                muon = muon_class(inner[0].device.type)(
                    self._groups(inner),
                    lr=config.learning_rate,
                    momentum=config.momentum,
                    weight_decay=config.weight_decay,
                )
                self._parts.append((muon, config.learning_rate))
            self._parts.append((self._adamw(outer, rest, adamw_rate, config), adamw_rate))

    def _groups(self, parameters: list[Tensor], **options: float) -> list[dict[str, Any]]:
        """Return torch parameter groups, one per learning rate."""
        by_scale: dict[float, list[Tensor]] = {}
        for parameter in parameters:
            by_scale.setdefault(self._scale(parameter), []).append(parameter)
        return [{"params": members, "scale": scale, **options} for scale, members in by_scale.items()]

    def _scale(self, parameter: Tensor) -> float:
        return self._scales.get(self._names[id(parameter)], 1.0)

    def _adamw(
        self, matrices: list[Tensor], rest: list[Tensor], rate: float, config: OptimizerConfig
    ) -> torch.optim.AdamW:
        groups = [
            *self._groups(matrices, weight_decay=config.weight_decay),
            *self._groups(rest, weight_decay=0.0),
        ]
        return torch.optim.AdamW(groups, lr=rate, betas=config.betas, fused=True)

    def gradient_norm(self) -> float:
        """Return the global norm of the gradients."""
        return float(full_tensor(nn.utils.get_total_norm(self._gradients(), foreach=True)))

    def step(self, norm: float, factor: float) -> None:
        """Clip the gradients, whose global norm is `norm`, and take one step at `factor` times the peak learning rates."""
        if self._clip_norm is not None and norm > self._clip_norm:
            torch._foreach_mul_(self._gradients(), self._clip_norm / norm)
        for part, peak in self._parts:
            for group in part.param_groups:
                group["lr"] = peak * factor * group["scale"]
        with torch.no_grad():
            for parameter in self._decayed:
                parameter.mul_(1.0 - self._parts[0][1] * factor * self._scale(parameter) * self._weight_decay)
        for part, _ in self._parts:
            part.step()

    def _gradients(self) -> list[Tensor]:
        return [parameter.grad for parameter in self._parameters if parameter.grad is not None]

    def tensors(self) -> dict[str, Tensor]:
        """Return the optimizer state, by "<parameter>/<entry>"; empty before the first step."""
        return {
            f"{self._names[id(parameter)]}/{entry}": value
            for part, _ in self._parts
            for parameter, entries in part.state.items()
            for entry, value in entries.items()
            if value is not None  # the momentum buffer of SGD without momentum
        }

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Load the state that `tensors` returned."""
        for part, _ in self._parts:
            for group in part.param_groups:
                for parameter in group["params"]:
                    prefix = f"{self._names[id(parameter)]}/"
                    part.state[parameter] = {
                        name.removeprefix(prefix): _like_parameter(tensor, parameter)
                        for name, tensor in tensors.items()
                        if name.startswith(prefix)
                    }

    def zero_grad(self) -> None:
        for part, _ in self._parts:
            part.zero_grad()


def _like_parameter(tensor: Tensor, parameter: Tensor) -> Tensor:
    """Return a copy of an optimizer's state tensor on the device of its parameter, sharded like it unless it is a scalar."""
    return shard_like(tensor, parameter) if tensor.shape == parameter.shape else tensor.to(parameter.device, copy=True)
