"""What training carries from step to step."""

import contextlib
from collections.abc import Iterator

import torch
from torch import Tensor

from allmlp.model import MlpMixer
from allmlp.training.optimizer import Optimizer
from allmlp.training.recipe import Recipe

__all__ = ["TrainState"]


class TrainState:
    """Model, optimizer, averaged weights and the number of steps done.

    Attributes:
        model: the Mixer that is trained, on its device.
        optimizer: holds the model's parameters.
        average: the exponential moving average of the parameters, in their order; None without.
        step: steps done.
    """

    def __init__(self, recipe: Recipe, device: str) -> None:
        torch.manual_seed(recipe.seed)
        self.model = MlpMixer(recipe.model).to(device)
        self.model.activation_checkpointing = recipe.activation_checkpointing
        self.optimizer = Optimizer(self.model, recipe.optimizer)
        self._ema_decay = recipe.ema_decay
        self._parameters: list[Tensor] = list(self.model.parameters())
        self.average = (
            [parameter.detach().clone() for parameter in self._parameters] if recipe.ema_decay is not None else None
        )
        self.step = 0

    def advance(self) -> None:
        """Count a step that the optimizer has taken, and move the average."""
        self.step += 1
        if self.average is not None and self._ema_decay is not None:
            decay = min(self._ema_decay, (1 + self.step) / (10 + self.step))
            torch._foreach_lerp_(self.average, [parameter.detach() for parameter in self._parameters], 1.0 - decay)

    @contextlib.contextmanager
    def averaged(self) -> Iterator[MlpMixer]:
        """Give the model in evaluation mode with the averaged weights in place, then put the trained ones back."""
        trained = [parameter.detach().clone() for parameter in self._parameters] if self.average is not None else []
        with torch.no_grad():
            if self.average is not None:
                torch._foreach_copy_(self._parameters, self.average)
            self.model.eval()
            try:
                yield self.model
            finally:
                self.model.train()
                if trained:
                    torch._foreach_copy_(self._parameters, trained)
