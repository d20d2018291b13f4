"""What training carries from step to step."""

import contextlib
from collections.abc import Iterator, Mapping

import torch
from torch import Tensor, nn

from allmlp.errors import CheckpointError, DivergedError
from allmlp.io.display import summarise
from allmlp.model import MlpMixer
from allmlp.training.distributed.process_group import ONE_PROCESS, ProcessGroup
from allmlp.training.distributed.sharding import local_part, part_like, shard, whole
from allmlp.training.recipe.recipe import ResolvedRecipe
from allmlp.training.step.layer_decay import learning_rate_scales
from allmlp.training.step.optimizer import Optimizer

__all__ = ["TrainState"]


class TrainState:
    """Model, optimizer, averaged weights and the number of steps done.

    Of a state that is sharded each process has a part; then all call the same methods at the same time.

    Attributes:
        model: the Mixer that is trained, on its device.
        optimizer: holds the model's parameters.
        average: the exponential moving average of the parameters, in their order; None without.
        step: steps done.
        is_sharded: whether each of several processes has a part.
        is_whole: False while a step changes it: what is saved then would be half of one step and half of the next.
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
        self.is_whole = True

    def tensors(self) -> dict[str, Tensor]:
        """Return copies on the processor of everything that the next steps depend on, by name; on the writer only."""
        return self._copies(self._named())

    def weights(self) -> dict[str, Tensor]:
        """Return copies on the processor of the model's weights as they are now, by name; on the writer only."""
        return self._copies(dict(self.model.named_parameters()))

    def _copies(self, named: Mapping[str, Tensor]) -> dict[str, Tensor]:
        copies = {}
        for name, value in named.items():
            put_together = whole(value.detach())  # one after the other: no process has to have room for all
            if self._ranks.is_first:
                copies[name] = put_together.to("cpu", copy=True)
        return copies

    def _named(self) -> dict[str, Tensor]:
        named: dict[str, Tensor] = {f"model/{name}": parameter for name, parameter in self.model.named_parameters()}
        if self.average is not None:
            names = (name for name, _ in self.model.named_parameters())
            named |= {f"average/{name}": value for name, value in zip(names, self.average, strict=True)}
        return named | {f"optimizer/{name}": value for name, value in self.optimizer.tensors().items()}

    def not_finite(self) -> list[str]:
        """Return the names of those tensors that hold a value that is not finite."""
        named = {name: value for name, value in self._named().items() if value.is_floating_point()}
        finite: list[float] = torch.stack(
            [local_part(value).isfinite().all().cpu() for value in named.values()]
        ).tolist()
        if self.is_sharded:
            finite = list(self._ranks.gather(finite).min(axis=0))
        return [name for name, is_finite in zip(named, finite, strict=True) if not is_finite]

    def check_finite(self) -> None:
        """Check that all weights and whatever else is carried are finite: nothing else may be saved or scored.

        Raises:
            DivergedError: some are not.
        """
        names = self.not_finite()
        if names:
            raise DivergedError(
                f"NaN or infinity stands in {summarise(names, limit=3)} at step {self.step}. None of it was saved: "
                "--resume goes on from the newest save, which is valid. "
                "If this happens again, start a new run with a lower learning rate "
                "(--set optimizer.learning_rate=) or clipped gradients (--set optimizer.clip_norm=1.0)."
            )

    def load(self, tensors: Mapping[str, Tensor], *, step: int, where: str) -> None:
        """Take over what `tensors` returned after `step` steps.

        Raises:
            CheckpointError: other names or shapes than this model's.
        """
        kinds = ("model", "average") if self.average is not None else ("model",)
        shapes = {name: tuple(parameter.shape) for name, parameter in self.model.named_parameters()}
        wanted = {f"{kind}/{name}": shape for kind in kinds for name, shape in shapes.items()}
        found = {name: tuple(value.shape) for name, value in tensors.items() if not name.startswith("optimizer/")}
        if wanted != found:
            odd = sorted(name for name in wanted | found if wanted.get(name) != found.get(name))
            raise CheckpointError(f"{where}: saved by another model or recipe; these differ: {', '.join(odd[:20])}.")
        self._take_over(tensors, "model/", "average/")
        prefix = "optimizer/"
        self.optimizer.load(
            {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
        )
        self.step = step

    def begin_with(self, weights: Mapping[str, Tensor]) -> None:
        """Take over the weights of a checkpoint of this model, in any precision."""
        self._take_over({name: value.float() for name, value in weights.items()}, "", "")

    def _take_over(self, tensors: Mapping[str, Tensor], model: str, average: str) -> None:
        with torch.no_grad():
            for place, (name, parameter) in enumerate(self.model.named_parameters()):
                parameter.copy_(part_like(tensors[f"{model}{name}"], parameter))
                if self.average is not None:
                    self.average[place].copy_(part_like(tensors[f"{average}{name}"], parameter))

    def step_optimizer(self, norm: float, factor: float) -> None:
        """Take the step that the gradients, of global norm `norm`, ask for, and move the average."""
        self.is_whole = False
        self.optimizer.step(norm, factor)
        self.step += 1
        if self.average is not None and self._ema_decay is not None:
            decay = min(self._ema_decay, (1 + self.step) / (10 + self.step))
            torch._foreach_lerp_(self.average, [parameter.detach() for parameter in self._parameters], 1.0 - decay)
        self.is_whole = True

    def skip_step(self) -> None:
        """Count a step that changes nothing."""
        self.step += 1

    @contextlib.contextmanager
    def averaged(self) -> Iterator[MlpMixer]:
        """Give the model in evaluation mode with the averaged weights in place, then put the trained ones back."""
        trained = [parameter.detach().clone() for parameter in self._parameters] if self.average is not None else []
        with torch.no_grad():
            if self.average is not None:
                self._put(self.average)
            self.model.eval()
            try:
                yield self.model
            finally:
                self.model.train()
                if trained:
                    self._put(trained)

    def _put(self, values: list[Tensor]) -> None:
        torch._foreach_copy_(
            [local_part(parameter) for parameter in self._parameters], [local_part(value) for value in values]
        )
