"""The training state: everything that is carried from one step to the next."""

import contextlib
from collections.abc import Iterator, Mapping

import torch
from torch import Tensor, nn

from allmlp.errors import CheckpointError, DivergedError
from allmlp.io.display import summarise
from allmlp.model import MlpMixer
from allmlp.training.distributed.process_group import ONE_PROCESS, ProcessGroup
from allmlp.training.distributed.sharding import full_tensor, local_tensor, shard, shard_like
from allmlp.training.recipe.recipe import ResolvedRecipe
from allmlp.training.step.layer_decay import learning_rate_scales
from allmlp.training.step.optimizer import Optimizer

__all__ = ["TrainState"]


class TrainState:
    """Model, optimizer, averaged weights and the number of steps done.

    If the state is sharded, each process holds a part, and all must call the same methods in the same order.

    Attributes:
        model: the Mixer being trained, on its device.
        optimizer: the optimizer of the model's parameters.
        average: the exponential moving average of the parameters, in their order; None if the recipe has none.
        step: the number of steps done.
        is_sharded: whether each of several processes holds only a part.
        is_consistent: False while a step changes the state; saved then, it would mix two steps.
    """

    def __init__(self, recipe: ResolvedRecipe, ranks: ProcessGroup = ONE_PROCESS) -> None:
        torch.manual_seed(recipe.seed)
        self.model = MlpMixer(recipe.model).to(ranks.device)
        if self.model.head is not None:
            nn.init.constant_(self.model.head.bias, recipe.head_bias)
        self._ranks = ranks
        self.is_sharded = recipe.sharded and ranks.count > 1
        if self.is_sharded:
            shard(self.model, ranks)
        self.model.activation_checkpointing = recipe.activation_checkpointing
        names = [name for name, _ in self.model.named_parameters()]
        scales = learning_rate_scales(names, recipe.transfer, recipe.model.num_blocks)
        for name, parameter in self.model.named_parameters():
            parameter.requires_grad_(scales[name] > 0.0)
        self.optimizer = Optimizer(self.model, recipe.optimizer, scales)
        self._ema_decay = recipe.ema_decay
        self._parameters: list[Tensor] = list(self.model.parameters())
        self.average = (
            [parameter.detach().clone() for parameter in self._parameters] if recipe.ema_decay is not None else None
        )
        self.step = 0
        self.is_consistent = True

    def tensors(self) -> dict[str, Tensor]:
        """Return CPU copies of everything that the next steps depend on, by name; on the first process only."""
        return self._copies(self._named_tensors())

    def weights(self) -> dict[str, Tensor]:
        """Return CPU copies of the model's current weights, by name; on the first process only."""
        return self._copies(dict(self.model.named_parameters()))

    def _copies(self, named: Mapping[str, Tensor]) -> dict[str, Tensor]:
        copies = {}
        for name, value in named.items():
            full = full_tensor(value.detach())  # one at a time: no process needs memory for all
            if self._ranks.is_first:
                copies[name] = full.to("cpu", copy=True)
        return copies

    def _named_tensors(self) -> dict[str, Tensor]:
        named: dict[str, Tensor] = {f"model/{name}": parameter for name, parameter in self.model.named_parameters()}
        if self.average is not None:
            names = (name for name, _ in self.model.named_parameters())
            named |= {f"average/{name}": value for name, value in zip(names, self.average, strict=True)}
        return named | {f"optimizer/{name}": value for name, value in self.optimizer.tensors().items()}

    def nonfinite_names(self) -> list[str]:
        """Return the names of the tensors that hold a value that is not finite."""
        named = {name: value for name, value in self._named_tensors().items() if value.is_floating_point()}
        finite: list[float] = torch.stack(
            [local_tensor(value).isfinite().all().cpu() for value in named.values()]
        ).tolist()
        if self.is_sharded:
            finite = list(self._ranks.gather(finite).min(axis=0))
        return [name for name, is_finite in zip(named, finite, strict=True) if not is_finite]

    def check_finite(self) -> None:
        """Check that all tensors of the state are finite, as they must be before it is saved or scored.

        Raises:
            DivergedError: a tensor is not finite.
        """
        names = self.nonfinite_names()
        if names:
            raise DivergedError(
                f"Found NaN or infinity in {summarise(names, limit=3)} at step {self.step}. Nothing of it was saved: "
                "--resume continues from the newest snapshot, which is valid. "
                "If this happens again, start a new run with a lower learning rate "
                "(--set optimizer.learning_rate=) or clipped gradients (--set optimizer.clip_norm=1.0)."
            )

    def load(self, tensors: Mapping[str, Tensor], *, step: int, where: str) -> None:
        """Load the state that `tensors` returned after `step` steps.

        Raises:
            CheckpointError: names or shapes differ from those of this model.
        """
        kinds = ("model", "average") if self.average is not None else ("model",)
        shapes = {name: tuple(parameter.shape) for name, parameter in self.model.named_parameters()}
        expected = {f"{kind}/{name}": shape for kind in kinds for name, shape in shapes.items()}
        found = {name: tuple(value.shape) for name, value in tensors.items() if not name.startswith("optimizer/")}
        if expected != found:
            differing = sorted(name for name in expected | found if expected.get(name) != found.get(name))
            raise CheckpointError(
                f"{where}: saved by another model or recipe; these tensors differ: {', '.join(differing[:20])}."
            )
        self._copy_weights(tensors, "model/", "average/")
        prefix = "optimizer/"
        self.optimizer.load(
            {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
        )
        self.step = step

    def initialise_from(self, weights: Mapping[str, Tensor]) -> None:
        """Load the weights of a checkpoint of this model, in any precision."""
        self._copy_weights({name: value.float() for name, value in weights.items()}, "", "")

    def _copy_weights(self, tensors: Mapping[str, Tensor], model_prefix: str, average_prefix: str) -> None:
        with torch.no_grad():
            for index, (name, parameter) in enumerate(self.model.named_parameters()):
                parameter.copy_(shard_like(tensors[f"{model_prefix}{name}"], parameter))
                if self.average is not None:
                    self.average[index].copy_(shard_like(tensors[f"{average_prefix}{name}"], parameter))

    def step_optimizer(self, norm: float, factor: float) -> None:
        """Take an optimizer step with the gradients, of global norm `norm`, and update the average."""
        self.is_consistent = False
        self.optimizer.step(norm, factor)
        self.step += 1
        if self.average is not None and self._ema_decay is not None:
            decay = min(self._ema_decay, (1 + self.step) / (10 + self.step))
            torch._foreach_lerp_(self.average, [parameter.detach() for parameter in self._parameters], 1.0 - decay)
        self.is_consistent = True

    def skip_step(self) -> None:
        """Count a step without changing anything else."""
        self.step += 1

    @contextlib.contextmanager
    def averaged(self) -> Iterator[MlpMixer]:
        """Yield the model in evaluation mode with the averaged weights, then restore the trained ones."""
        trained = [parameter.detach().clone() for parameter in self._parameters] if self.average is not None else []
        with torch.no_grad():
            if self.average is not None:
                self._set_parameters(self.average)
            self.model.eval()
            try:
                yield self.model
            finally:
                self.model.train()
                if trained:
                    self._set_parameters(trained)

    def _set_parameters(self, values: list[Tensor]) -> None:
        torch._foreach_copy_(
            [local_tensor(parameter) for parameter in self._parameters], [local_tensor(value) for value in values]
        )
