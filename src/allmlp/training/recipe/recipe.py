"""`Recipe`: everything that decides a training run, as one frozen value that is written down with it. No torch here."""

from dataclasses import dataclass, field
from typing import Literal

from allmlp.data import Augmentation, Preprocessing
from allmlp.errors import ConfigError
from allmlp.model import MixerConfig

__all__ = [
    "DataConfig",
    "OptimizerConfig",
    "Recipe",
    "ResolvedRecipe",
    "SavingConfig",
    "ScheduleConfig",
    "TransferConfig",
]


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """How photos reach the model.

    Attributes:
        fit, crop_fraction, interpolation, mean, std: see `Preprocessing`; the image size is the model's. An interpolation of
            None is that of the checkpoint that training begins with, and bicubic where it begins with random weights.
        holdout: the share of each class's training photos that becomes validation when the data has none.
        storage: "memory" decodes each photo once and keeps it, "stream" decodes it in every epoch; "auto" keeps
            photos that take less than a quarter of the free memory. The results are the same, bit for bit.
        num_workers: decoding threads; None means one per processor core that the process may use, at most 16.
    """

    fit: Literal["crop", "squash", "pad"] = "crop"
    crop_fraction: float = 1.0
    interpolation: Literal["bilinear", "bicubic"] | None = "bicubic"
    mean: tuple[float, float, float] = (0.5, 0.5, 0.5)
    std: tuple[float, float, float] = (0.5, 0.5, 0.5)
    holdout: float = 0.1
    storage: Literal["auto", "memory", "stream"] = "auto"
    num_workers: int | None = None

    def __post_init__(self) -> None:
        if not 0.0 < self.holdout < 1.0:
            raise ConfigError(f"data.holdout is {self.holdout}; expected a share over 0 and under 1, such as 0.1.")
        if self.num_workers is not None and not 0 <= self.num_workers <= 256:
            raise ConfigError(f"data.num_workers is {self.num_workers}; expected 0 to 256.")

    def preprocessing(self, image_size: tuple[int, int]) -> Preprocessing:
        """Return the pre-processing that a model trained so needs."""
        return Preprocessing(
            image_size=image_size,
            fit=self.fit,
            crop_fraction=self.crop_fraction,
            interpolation=self.interpolation or Preprocessing.interpolation,
            mean=self.mean,
            std=self.std,
        )


@dataclass(frozen=True, kw_only=True)
class OptimizerConfig:
    """How a gradient becomes a step.

    Attributes:
        name: "adamw"; "sgd" with momentum; "muon": torch.optim.Muon for the weight matrices inside the blocks, AdamW for
            the rest (patch projection, classifier, biases, norms).
        learning_rate: the peak, of "muon" for the matrices.
        adamw_learning_rate: the peak of AdamW's part under "muon"; None elsewhere.
        weight_decay: on matrices only, decoupled: each step takes learning rate × weight decay of a weight away.
        momentum: of SGD and Muon; "adamw" leaves it at its default.
        betas: of AdamW, "muon"'s part included; "sgd" leaves them at their default.
        clip_norm: gradients are scaled down to this global norm (appendix B clips at 1); None does not.
    """

    name: Literal["adamw", "sgd", "muon"] = "adamw"
    learning_rate: float = 1e-3
    adamw_learning_rate: float | None = None
    weight_decay: float = 0.1
    momentum: float = 0.9
    betas: tuple[float, float] = (0.9, 0.999)
    clip_norm: float | None = 1.0

    def __post_init__(self) -> None:
        for name in ("learning_rate", "adamw_learning_rate"):
            rate = getattr(self, name)
            if rate is not None and not 0.0 < rate <= 1e3:
                raise ConfigError(
                    f"optimizer.{name} is {rate}; expected over 0 and at most 1000, usually 1e-4 to 1e-1."
                )
        if (self.adamw_learning_rate is not None) != (self.name == "muon"):
            raise ConfigError(
                "optimizer.adamw_learning_rate belongs to optimizer.name=muon: "
                + ("set it, such as 0.002." if self.name == "muon" else "set it to none for this optimizer.")
            )
        if (
            self.weight_decay < 0.0
            or not 0.0 <= self.momentum < 1.0
            or not all(0.0 <= beta < 1.0 for beta in self.betas)
        ):
            raise ConfigError(
                f"optimizer: weight_decay is {self.weight_decay}, momentum {self.momentum}, betas {self.betas}; expected a "
                "weight_decay of 0 or more, and the others from 0 to under 1."
            )
        if self.clip_norm is not None and self.clip_norm <= 0.0:
            raise ConfigError(f"optimizer.clip_norm is {self.clip_norm}; expected over 0, or none.")
        for owners, name, default in ((("sgd", "muon"), "momentum", 0.9), (("adamw", "muon"), "betas", (0.9, 0.999))):
            if self.name not in owners and getattr(self, name) != default:
                raise ConfigError(
                    f"optimizer.{name} is {getattr(self, name)}, but optimizer.name={self.name} has none: it belongs to "
                    f"{' and '.join(owners)}. Leave it at {default}."
                )


@dataclass(frozen=True, kw_only=True)
class ScheduleConfig:
    """How the learning rate goes over training: up from 0 in a line, then down.

    Attributes:
        warmup: the share of all steps that go up.
        warmup_steps: so many steps go up, however many there are; a run has to have more. None leaves it to the share.
        decay: the shape of the way down.
        final_fraction: of the peak, reached where one more step would be.
    """

    warmup: float = 0.05
    warmup_steps: int | None = None
    decay: Literal["cosine", "linear"] = "cosine"
    final_fraction: float = 0.0

    def __post_init__(self) -> None:
        if not 0.0 <= self.warmup < 1.0 or not 0.0 <= self.final_fraction <= 1.0:
            raise ConfigError(
                f"schedule: warmup is {self.warmup}, final_fraction {self.final_fraction}; expected a warmup from 0 to under 1 "
                "and a final_fraction from 0 to 1."
            )
        if self.warmup_steps is not None and self.warmup_steps < 0:
            raise ConfigError(f"schedule.warmup_steps is {self.warmup_steps}; expected 0 or more, or none.")
        if self.warmup_steps is not None and self.warmup != 0.05:
            raise ConfigError(
                f"schedule.warmup is {self.warmup}, but schedule.warmup_steps={self.warmup_steps} decides. "
                "Leave it at 0.05, or set schedule.warmup_steps to none."
            )


@dataclass(frozen=True, kw_only=True)
class SavingConfig:
    """How often what continuing takes is saved; also at the end, and when the run is stopped. It changes no result.

    Attributes:
        every_minutes: at most so long a time is lost to a power cut; None saves by steps alone.
        every_steps: also after every so many steps.
        keep_every: every save whose step is a multiple of it stays for good; of the others the newest two.
    """

    every_minutes: float | None = 2.0
    every_steps: int | None = None
    keep_every: int | None = None

    def __post_init__(self) -> None:
        for name in ("every_minutes", "every_steps", "keep_every"):
            value = getattr(self, name)
            if value is not None and value <= 0:
                raise ConfigError(f"saving.{name} is {value}; expected over 0, or none.")


@dataclass(frozen=True, kw_only=True)
class TransferConfig:
    """Which trained Mixer a run begins with, and how much of it the run changes.

    Attributes:
        checkpoint: what `load_checkpoint` takes, or "starter", the weights that come with allmlp; None begins with random
            weights. The Mixer and its pre-processing are then the checkpoint's: of the recipe's own model only dropout and
            stochastic depth count, of its data neither the mean nor the standard deviation.
        image_size: (height, width) to train at; None is the checkpoint's. See `Checkpoint.at_resolution`.
        trained_blocks: only the last so many blocks are trained, with what follows them; 0 trains the classifier alone;
            None trains everything.
        layer_decay: each block learns at this times the rate of the block after it, the last one at this times the
            classifier's, as in BEiT (arXiv 2106.08254); 1 is one rate for all.
    """

    checkpoint: str | None = None
    image_size: tuple[int, int] | None = None
    trained_blocks: int | None = None
    layer_decay: float = 1.0

    def __post_init__(self) -> None:
        if self.trained_blocks is not None and self.trained_blocks < 0:
            raise ConfigError(
                f"transfer.trained_blocks is {self.trained_blocks}; expected 0 for the classifier alone, a number of blocks, "
                "or none for everything."
            )
        if not 0.0 < self.layer_decay <= 1.0:
            raise ConfigError(
                f"transfer.layer_decay is {self.layer_decay}; expected over 0 and at most 1, such as 0.75."
            )
        for name in ("image_size", "trained_blocks"):
            if self.checkpoint is None and getattr(self, name) is not None:
                raise ConfigError(
                    f"transfer.{name} is {getattr(self, name)}, but training begins with random weights. "
                    "Name a checkpoint with transfer.checkpoint (allmlp finetune --from), or leave it out."
                )


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
    model: MixerConfig
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
