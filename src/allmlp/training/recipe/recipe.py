"""`Recipe` and `ResolvedRecipe`: every setting of a training run in one frozen value. Does not load torch."""

from dataclasses import dataclass, field
from typing import Literal

from allmlp.data import Augmentation
from allmlp.errors import ConfigError
from allmlp.model import MixerConfig, MixerTemplate
from allmlp.training.recipe.configs import (
    DataConfig,
    DistillationConfig,
    OptimizerConfig,
    SavingConfig,
    ScheduleConfig,
    TransferConfig,
)

_MAX_HEAD_BIAS = 1e4  # far beyond any logit, and finite in bfloat16

__all__ = ["Recipe", "ResolvedRecipe"]


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """The settings of a training run.

    Attributes:
        name: the recipe's name, for display and for the run folder.
        model: the Mixer; its number of classes is taken from the data.
        num_epochs: passes over the training photos; 0 leaves the length to `num_steps`.
        batch_size: the global batch size, over all processes.
        seed: determines the initial weights, the hold-out, the order and the augmentation; an unsigned 32-bit integer.
        loss: "softmax" or "sigmoid" cross-entropy.
        head_bias: the initial bias of the classifier, except for classes whose row comes from a checkpoint. With "sigmoid",
            -6.9 gives each of 1,000 classes a probability of 1/1000.
        class_weights: "balanced" weights the loss of a photo of class k by n / (K n_k), for n_k of n training photos.
        sampler: "balanced" shows every class equally often, in epochs of the same length; see `BalancedOrder`.
        num_steps: the number of steps, whatever the data; `num_epochs` then follows from it. None uses `num_epochs`.
        ema_decay: decay of the exponential moving average of the weights, which is evaluated and saved in their place; None
            uses the weights themselves. Early on, the decay is at most (1 + step) / (10 + step).
        precision: the precision of the forward and backward pass; weights, gradients and optimizer state stay float32.
            "auto" is bfloat16 on devices that are faster with it, otherwise float32.
        best_by: which epoch's weights are the best ones: those with the highest validation "top1" (ties: the lower loss), the
            lowest validation "loss", or those of the "last" epoch. With cross-validation it is always the last.
        patience: the number of epochs without better weights after which the run ends; None never ends it early.
        accumulation: the number of parts of a batch that are processed one after another to save memory (gradient
            accumulation). The step is the same up to rounding and dropout, whose masks are drawn per part.
        on_nonfinite: what to do if the loss or gradient of a step is not finite: "stop" ends the run, "skip" skips and counts
            the step. Either way, such a step does not change the weights.
        compile: whether to torch.compile the model: half a minute or more at the start, then possibly less time per step. Steps
            of Mixer-nano in float32 on a CPU with AVX2 only took longer (by 9 %), because matrix products are three quarters
            of them. On the CPU, it needs a C++ compiler.
        activation_checkpointing: see `MlpMixer`.
        sharded: whether each of several processes holds only a part of the weights, gradients and optimizer state (FSDP2).
            Slower; for models that do not fit otherwise. The steps are the same up to rounding and dropout. No effect
            with one process.
        saving: see `SavingConfig`.
        transfer: see `TransferConfig`.
        distillation: see `DistillationConfig`.
        max_minutes: the minutes that the run may take, report included. If all epochs would take longer, it takes as many steps
            as fit, planned anew while it trains (`TimeBudget`), and the schedule ends with them.
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
    best_by: Literal["top1", "loss", "last"] = "top1"
    patience: int | None = None
    accumulation: int = 1
    on_nonfinite: Literal["stop", "skip"] = "stop"
    saving: SavingConfig = field(default_factory=SavingConfig)
    transfer: TransferConfig = field(default_factory=TransferConfig)
    distillation: DistillationConfig = field(default_factory=DistillationConfig)
    compile: bool = False
    activation_checkpointing: bool = False
    sharded: bool = False
    max_minutes: float | None = None

    def __post_init__(self) -> None:
        if not self.name or not self.name.isprintable() or {"/", "\\"} & set(self.name) or self.name.startswith("."):
            raise ConfigError(f"name is {self.name!r}; expected a name for folders, without a slash or a leading dot.")
        self._check_length()
        if not abs(self.head_bias) <= _MAX_HEAD_BIAS:
            raise ConfigError(f"head_bias is {self.head_bias}; expected -{_MAX_HEAD_BIAS:g} to {_MAX_HEAD_BIAS:g}.")
        if self.class_weights == "balanced" and self.sampler == "balanced":
            raise ConfigError(
                "class_weights and sampler are both balanced, which would compensate for rare classes twice. Turn one of them "
                "off (--set class_weights=none or --set sampler=uniform)."
            )
        if self.accumulation < 1 or self.batch_size % self.accumulation:
            raise ConfigError(
                f"accumulation is {self.accumulation}; expected a positive divisor of batch_size {self.batch_size}."
            )
        if not 0 <= self.seed < 2**32:
            raise ConfigError(f"seed is {self.seed}; expected 0 to {2**32 - 1}.")
        if self.ema_decay is not None and not 0.0 <= self.ema_decay < 1.0:
            raise ConfigError(
                f"ema_decay is {self.ema_decay}; expected at least 0 and under 1, such as 0.999, or none."
            )
        if self.max_minutes is not None and self.max_minutes <= 0.0:
            raise ConfigError(f"max_minutes is {self.max_minutes}; expected a value over 0, or none.")
        if self.patience is not None and (self.patience < 1 or self.best_by == "last" or self.data.folds):
            raise ConfigError(
                f"patience is {self.patience}, best_by {self.best_by} and data.folds {self.data.folds}; expected a patience of "
                "at least 1, and validation photos to compare epochs by: best_by top1 or loss, and data.folds 0."
            )
        if self.sharded and self.compile:
            raise ConfigError("sharded and compile cannot be combined. Set one of them to false.")
        preprocessing = self.data.preprocessing(self.model.image_size)  # checks its values
        if self.data.decoding == "crop" and not (
            self.augmentation.crop == "inception" and preprocessing.is_antialiased
        ):
            raise ConfigError(
                f"data.decoding is crop, augmentation.crop {self.augmentation.crop} and data.law {self.data.law}; only "
                "inception crops are decoded alone, and only with the laws allmlp and timm. Set data.decoding to whole, or "
                "the others to such values."
            )

    def _check_length(self) -> None:
        for name, least in (("num_epochs", int(self.num_steps is None)), ("batch_size", 1), ("num_steps", 1)):
            value = getattr(self, name)
            if value is not None and value < least:
                raise ConfigError(f"{name} is {value}; expected at least {least}.")
        step_counts = {"num_steps": self.num_steps, "schedule.warmup_steps": self.schedule.warmup_steps}
        for name, value in step_counts.items():
            if value is not None and self.max_minutes is not None:
                raise ConfigError(
                    f"{name} is {value}, but with max_minutes={self.max_minutes:g} the number of steps depends on the speed "
                    "of this machine. Set one of the two to none."
                )
        for name in ("revisions", "fold_revisions"):
            if getattr(self.schedule, name) and self.max_minutes is not None:
                raise ConfigError(
                    f"schedule.{name} sets the number of steps, and so does max_minutes={self.max_minutes:g}. To take the "
                    "steps of another run, set max_minutes to none."
                )


@dataclass(frozen=True, kw_only=True)
class ResolvedRecipe(Recipe):
    """A recipe without None or "auto" in any setting that affects the result; it is stored in recipe.json.

    `allmlp.training.recipe.resolve` makes one from a `Recipe`. `data.storage` and `data.num_workers` stay as requested, since
    they do not affect the result. `num_epochs` is the length of the run, whether epochs or steps determined it; a time budget
    may end it earlier.

    Raises:
        ConfigError: a setting is unresolved.
    """

    model: MixerConfig
    precision: Literal["float32", "bfloat16"]

    def __post_init__(self) -> None:
        super().__post_init__()
        is_unresolved = {
            "precision": self.precision not in ("float32", "bfloat16"),
            "num_epochs": self.num_epochs < 1,
            "data.interpolation": self.data.interpolation is None,
        }
        if unresolved := [name for name, is_missing in is_unresolved.items() if is_missing]:
            raise ConfigError(f"the recipe of a run needs a value for {', '.join(unresolved)}.")

    def num_steps_on(self, num_photos: int) -> int:
        """Return the number of steps on `num_photos` training photos; epochs are rounded to whole batches, at least 1."""
        return self.num_steps or max(1, round(num_photos * self.num_epochs / self.batch_size))
