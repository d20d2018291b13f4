"""`Recipe`: everything that decides a training run, as one frozen value that is written down with it. No torch here."""

from dataclasses import dataclass, field
from typing import Literal

from allmlp.data import Augmentation
from allmlp.errors import ConfigError
from allmlp.model import MixerConfig, MixerTemplate
from allmlp.training.recipe.configs import DataConfig, OptimizerConfig, SavingConfig, ScheduleConfig, TransferConfig

__all__ = ["Recipe", "ResolvedRecipe"]


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """A training run.

    Attributes:
        name: for people and for the run folder.
        model: the Mixer; its number of classes is replaced by the data's.
        num_epochs: how often each photo is seen; 0 leaves it to `num_steps`.
        batch_size: the global batch.
        seed: of the initial weights, the held-out split, the order, the augmentation: an unsigned 32-bit number.
        loss: "softmax" or "sigmoid" cross-entropy.
        head_bias: what the classifier's biases start from, but for classes that a checkpoint has a row of. -6.9 makes each of
            1,000 classes 1/1000 probable under "sigmoid".
        class_weights: "balanced" lets a photo of class k count n / (K n_k) in the loss, for n_k of n training photos.
        sampler: "balanced" shows every class equally often, in epochs of the same length; see `BalancedOrder`.
        num_steps: the steps of the run whatever the data; `num_epochs` is then what results. None: `num_epochs` decides.
        ema_decay: of the exponential moving average of the weights, which is what is evaluated and saved; None saves the
            weights themselves. Early on the decay is at most (1 + step) / (10 + step).
        precision: of the forward and backward pass; weights, gradients and optimizer stay float32. "auto" is bfloat16
            where the device is faster in it, else float32.
        accumulation: a step's batch is computed in so many parts, one after the other: as much less memory, the same step but
            for rounding, and for dropout, whose masks are drawn part by part.
        on_nonfinite: what happens to a step whose loss or gradient is not finite: "stop" ends the run, "skip" leaves the
            step out and counts it. The weights are never touched by one.
        compile: torch.compile the model: half a minute or more at the start, less time a step.
        activation_checkpointing: see `MlpMixer`.
        sharded: each of several processes keeps a part of the weights, gradients and optimizer state (FSDP2), for Mixers that
            do not fit otherwise; slower than each keeping them all. The same steps but for rounding and dropout; one process
            ignores it.
        saving: see `SavingConfig`.
        transfer: see `TransferConfig`.
        max_minutes: lower `num_epochs` at the start to what this machine trains in that time, measured on some steps.
    """

    name: str
    model: MixerTemplate
    num_epochs: int
    batch_size: int
    seed: int = 0
    data: DataConfig = field(default_factory=DataConfig)
    augmentation: Augmentation = field(default_factory=Augmentation)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    schedule: ScheduleConfig = field(default_factory=ScheduleConfig)
    loss: Literal["softmax", "sigmoid"] = "softmax"
    head_bias: float = 0.0
    class_weights: Literal["none", "balanced"] = "none"
    sampler: Literal["uniform", "balanced"] = "uniform"
    num_steps: int | None = None
    ema_decay: float | None = None
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    accumulation: int = 1
    on_nonfinite: Literal["stop", "skip"] = "stop"
    saving: SavingConfig = field(default_factory=SavingConfig)
    transfer: TransferConfig = field(default_factory=TransferConfig)
    compile: bool = False
    activation_checkpointing: bool = False
    sharded: bool = False
    max_minutes: float | None = None

    def __post_init__(self) -> None:
        self._check_length()
        if self.class_weights == "balanced" and self.sampler == "balanced":
            raise ConfigError(
                "class_weights and sampler are both balanced: rare classes would be made up for twice. Set one of them back "
                "(--set class_weights=none or --set sampler=uniform)."
            )
        if self.accumulation < 1 or self.batch_size % self.accumulation:
            raise ConfigError(
                f"accumulation is {self.accumulation}; expected at least 1, and a divisor of batch_size {self.batch_size}."
            )
        if not 0 <= self.seed < 2**32:
            raise ConfigError(f"seed is {self.seed}; expected 0 to {2**32 - 1}.")
        if self.ema_decay is not None and not 0.0 <= self.ema_decay < 1.0:
            raise ConfigError(
                f"ema_decay is {self.ema_decay}; expected at least 0 and under 1, such as 0.999, or none."
            )
        if self.max_minutes is not None and self.max_minutes <= 0.0:
            raise ConfigError(f"max_minutes is {self.max_minutes}; expected over 0, or none.")
        if self.sharded and self.compile:
            raise ConfigError("sharded and compile do not go together; turn one off.")
        self.data.preprocessing(self.model.image_size)  # checks its parts

    def _check_length(self) -> None:
        for name, least in (("num_epochs", int(self.num_steps is None)), ("batch_size", 1), ("num_steps", 1)):
            value = getattr(self, name)
            if value is not None and value < least:
                raise ConfigError(f"{name} is {value}; expected at least {least}.")
        counted = {"num_steps": self.num_steps, "schedule.warmup_steps": self.schedule.warmup_steps}
        for name, value in counted.items():
            if value is not None and self.max_minutes is not None:
                raise ConfigError(
                    f"{name} is {value}, but max_minutes={self.max_minutes:g} lets this machine's speed decide how many "
                    f"steps there are. Set one of them to none."
                )


@dataclass(frozen=True, kw_only=True)
class ResolvedRecipe(Recipe):
    """A recipe that leaves nothing open which a run has to know: what a session trains by and recipe.json holds.

    `allmlp.training.recipe.resolve` makes one of a `Recipe`. How photos are stored and by how many threads they are decoded
    stays as asked for: it changes no result. The number of epochs is that of the run, whether epochs, steps or minutes decided.

    Raises:
        ConfigError: something is left open.
    """

    model: MixerConfig
    precision: Literal["float32", "bfloat16"]

    def __post_init__(self) -> None:
        super().__post_init__()
        open_values = {
            "precision": self.precision not in ("float32", "bfloat16"),
            "num_epochs": self.num_epochs < 1,
            "data.interpolation": self.data.interpolation is None,
        }
        if left_open := [name for name, is_open in open_values.items() if is_open]:
            raise ConfigError(f"a run's recipe has to say {', '.join(left_open)}.")

    def num_steps_on(self, num_photos: int) -> int:
        """Return the steps of the run on so many training photos; epochs are rounded to whole batches, at least 1."""
        return self.num_steps or max(1, round(num_photos * self.num_epochs / self.batch_size))
