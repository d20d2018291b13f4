"""Settings of a recipe, part by part: data, optimizer, schedule, saving, fine-tuning."""

from dataclasses import dataclass
from typing import Literal

from allmlp.data import Preprocessing
from allmlp.errors import ConfigError

__all__ = ["DataConfig", "OptimizerConfig", "SavingConfig", "ScheduleConfig", "TransferConfig"]


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """How photos reach the model.

    Attributes:
        fit, crop_fraction, interpolation, mean, std: see `Preprocessing`; the image size is the model's. An interpolation of
            None is that of the initial checkpoint, and bicubic for random weights.
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
        for owners, name in ((("sgd", "muon"), "momentum"), (("adamw", "muon"), "betas")):
            default = getattr(OptimizerConfig, name)
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
        if self.warmup_steps is not None and self.warmup != ScheduleConfig.warmup:
            raise ConfigError(
                f"schedule.warmup is {self.warmup}, but schedule.warmup_steps={self.warmup_steps} decides. "
                f"Leave it at {ScheduleConfig.warmup}, or set schedule.warmup_steps to none."
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
    """Which trained Mixer a run is initialised from, and how much of it is trained.

    Attributes:
        checkpoint: what `load_checkpoint` takes, or "starter", the weights that come with allmlp; None initialises with random
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
                    f"transfer.{name} is {getattr(self, name)}, but training starts from random weights. "
                    "Name a checkpoint with transfer.checkpoint (allmlp finetune --from), or leave it out."
                )
