"""The groups of settings of a recipe: data, optimizer, schedule, saving, transfer and distillation."""

from dataclasses import dataclass
from typing import Literal

from allmlp.data import BadPhotos, Law, Preprocessing
from allmlp.errors import ConfigError

__all__ = [
    "DataConfig",
    "DistillationConfig",
    "OptimizerConfig",
    "SavingConfig",
    "ScheduleConfig",
    "TransferConfig",
]


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """How photos are decoded, pre-processed and held out.

    Attributes:
        fit, crop_fraction, interpolation, mean, std, law: see `Preprocessing`; the image size is the model's. An interpolation
            of None is that of the initial checkpoint, or bicubic for random weights.
        holdout: the fraction of the training photos of each class that is held out if the data has no validation split.
        folds: the number of folds of cross-validation, instead of one hold-out, if the data has no validation split: the run
            trains on all training photos, and one more run per fold tells how well that works on others; 0 holds out once.
        storage: "memory" decodes each photo once and keeps it, "stream" decodes it in every epoch; "auto" keeps the photos if
            they take less than a quarter of the free memory. The results are the same, bit for bit.
        decoding: "whole" decodes whole photos for training. "crop" decodes of each photo only what its crop needs, at a lower
            resolution if the crop has far more pixels than the image: faster, but photos are then never kept in memory, and the
            pixels differ by a few levels (see `CropImages`). For augmentation.crop=inception and laws that antialias.
        bad_photos: "stop" refuses data with photos that cannot be decoded, and names all of them; "skip" leaves them out, and
            lists them in skipped.csv.
        num_workers: decoding threads; None means one per CPU core that the process may use, at most 16.
    """

    fit: Literal["crop", "squash", "pad"] = "crop"
    crop_fraction: float = 1.0
    interpolation: Literal["bilinear", "bicubic"] | None = "bicubic"
    mean: tuple[float, float, float] = (0.5, 0.5, 0.5)
    std: tuple[float, float, float] = (0.5, 0.5, 0.5)
    law: Law = "allmlp"
    holdout: float = 0.1
    folds: int = 0
    storage: Literal["auto", "memory", "stream"] = "auto"
    decoding: Literal["whole", "crop"] = "whole"
    bad_photos: BadPhotos = "stop"
    num_workers: int | None = None

    def __post_init__(self) -> None:
        if not 0.0 < self.holdout < 1.0:
            raise ConfigError(f"data.holdout is {self.holdout}; expected a fraction over 0 and under 1, such as 0.1.")
        if self.folds != 0 and not 2 <= self.folds <= 100:
            raise ConfigError(f"data.folds is {self.folds}; expected 2 to 100, such as 5, or 0 to hold out once.")
        if self.decoding == "crop" and self.storage == "memory":
            raise ConfigError(
                "data.decoding is crop and data.storage is memory, but crops are decoded anew each time. Set data.storage to "
                "auto or stream, or data.decoding to whole."
            )
        if self.num_workers is not None and not 0 <= self.num_workers <= 256:
            raise ConfigError(f"data.num_workers is {self.num_workers}; expected 0 to 256.")

    def preprocessing(self, image_size: tuple[int, int]) -> Preprocessing:
        """Return the pre-processing of a model that is trained with these settings."""
        return Preprocessing(
            image_size=image_size,
            fit=self.fit,
            crop_fraction=self.crop_fraction,
            interpolation=self.interpolation or Preprocessing.interpolation,
            mean=self.mean,
            std=self.std,
            law=self.law,
        )


@dataclass(frozen=True, kw_only=True)
class OptimizerConfig:
    """The optimizer and its settings.

    Attributes:
        name: "adamw"; "sgd" with momentum; "muon": torch.optim.Muon for the weight matrices inside the blocks, AdamW for
            the rest (patch projection, classifier, biases, norms).
        learning_rate: the peak learning rate; with "muon", that of the matrices.
        adamw_learning_rate: the peak learning rate of the AdamW part of "muon"; None for the other optimizers.
        weight_decay: decoupled, on matrices only: each step shrinks a weight by learning rate × weight decay of its value.
        momentum: of SGD and Muon; must keep its default with "adamw".
        betas: of AdamW, including the AdamW part of "muon"; must keep their default with "sgd".
        clip_norm: the global norm to which larger gradients are scaled down (appendix B clips at 1); None does not clip.
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
                    f"optimizer.{name} is {rate}; expected a value over 0 and at most 1000, usually 1e-4 to 1e-1."
                )
        if (self.adamw_learning_rate is not None) != (self.name == "muon"):
            raise ConfigError(
                f"optimizer.adamw_learning_rate is {self.adamw_learning_rate} and optimizer.name is {self.name}: "
                + (
                    "muon needs it; set it, for example to 0.002."
                    if self.name == "muon"
                    else "only muon has it; set it to none."
                )
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
            raise ConfigError(f"optimizer.clip_norm is {self.clip_norm}; expected a value over 0, or none.")
        for owners, name in ((("sgd", "muon"), "momentum"), (("adamw", "muon"), "betas")):
            default = getattr(OptimizerConfig, name)
            if self.name not in owners and getattr(self, name) != default:
                raise ConfigError(
                    f"optimizer.{name} is {getattr(self, name)}, but optimizer.name={self.name} does not use it; only "
                    f"{' and '.join(owners)} do. Leave it at {default}."
                )


@dataclass(frozen=True, kw_only=True)
class ScheduleConfig:
    """The learning-rate schedule: linear warm-up from 0, then decay.

    Attributes:
        warmup: the fraction of all steps that are warm-up.
        warmup_steps: the number of warm-up steps instead of a fraction; the run must be longer. None uses the fraction.
        decay: the shape of the decay.
        final_fraction: the fraction of the peak that the decay ends at, one step after the last.
        revisions: pairs (step, number of steps): from that step on, the run ends after that many steps instead, and the rest of
            the schedule is spread over them. metrics.json of a run with a time budget lists those that it made; with them,
            another run takes the same steps.
        fold_revisions: the same for each fold of cross-validation. Without them, a fold has the revisions of its run.
    """

    warmup: float = 0.05
    warmup_steps: int | None = None
    decay: Literal["cosine", "linear"] = "cosine"
    final_fraction: float = 0.0
    revisions: tuple[tuple[int, int], ...] = ()
    fold_revisions: tuple[tuple[tuple[int, int], ...], ...] = ()

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
                f"schedule.warmup is {self.warmup}, but schedule.warmup_steps={self.warmup_steps} overrides it. "
                f"Leave it at {ScheduleConfig.warmup}, or set schedule.warmup_steps to none."
            )
        _check_revisions("revisions", self.revisions)
        for revisions in self.fold_revisions:
            _check_revisions("fold_revisions", revisions)


def _check_revisions(name: str, revisions: tuple[tuple[int, int], ...]) -> None:
    steps = [step for step, _ in revisions]
    if steps != sorted({*steps}) or not all(0 < step < num_steps for step, num_steps in revisions):
        raise ConfigError(
            f"schedule.{name} is {[list(pair) for pair in revisions]}; expected pairs [step, number of steps], such as "
            "[[20,500],[60,480]]: steps over 0 that rise, each under its number of steps."
        )


@dataclass(frozen=True, kw_only=True)
class SavingConfig:
    """How often snapshots are saved, besides those at the end and when the run is stopped. It does not affect results.

    Attributes:
        every_minutes: minutes between snapshots, the most that a power cut can lose; None saves only by steps.
        every_steps: steps between snapshots; None saves only by time.
        keep_every: snapshots whose step is a multiple of this are kept for good; of the others, the two newest.
    """

    every_minutes: float | None = 2.0
    every_steps: int | None = None
    keep_every: int | None = None

    def __post_init__(self) -> None:
        for name in ("every_minutes", "every_steps", "keep_every"):
            value = getattr(self, name)
            if value is not None and value <= 0:
                raise ConfigError(f"saving.{name} is {value}; expected a value over 0, or none.")


@dataclass(frozen=True, kw_only=True)
class TransferConfig:
    """The checkpoint that a run is initialised from, and how much of the model is trained.

    Attributes:
        checkpoint: anything that `load_checkpoint` takes, or "starter", the weights that come with allmlp; None means random
            weights. With a checkpoint, the model and its pre-processing are those of the checkpoint: the recipe's model
            contributes only dropout and stochastic depth, and its mean and standard deviation are ignored.
        image_size: (height, width) to train at; None keeps the checkpoint's. See `Checkpoint.at_resolution`.
        mean, std: of the pre-processing, where the checkpoint's are wrong or only assumed; None keeps the checkpoint's.
        trained_blocks: the number of blocks to train, counted from the last, with the layers after them; 0 trains only the
            classifier, None trains everything.
        cached_passes: the number n of passes over the photos whose features are computed, once each, if only the classifier is
            trained (`trained_blocks` 0): epoch e has the augmentation of epoch e mod n. Mixup and CutMix are then off. 0
            computes the features anew in every epoch. No effect if more is trained.
        layer_decay: the ratio of a block's learning rate to that of the next block, and of the last block's to the
            classifier's, as in BEiT (arXiv 2106.08254); 1 gives all layers the same rate.
    """

    checkpoint: str | None = None
    image_size: tuple[int, int] | None = None
    mean: tuple[float, float, float] | None = None
    std: tuple[float, float, float] | None = None
    trained_blocks: int | None = None
    cached_passes: int = 0
    layer_decay: float = 1.0

    def __post_init__(self) -> None:
        if self.trained_blocks is not None and self.trained_blocks < 0:
            raise ConfigError(
                f"transfer.trained_blocks is {self.trained_blocks}; expected a number of blocks, 0 for only the classifier, "
                "or none for everything."
            )
        if not 0 <= self.cached_passes <= 10_000:
            raise ConfigError(
                f"transfer.cached_passes is {self.cached_passes}; expected 1 to 10,000 passes over the photos, such as 8, or 0 "
                "to compute the features in every epoch."
            )
        if not 0.0 < self.layer_decay <= 1.0:
            raise ConfigError(
                f"transfer.layer_decay is {self.layer_decay}; expected a value over 0 and at most 1, such as 0.75."
            )
        for name in ("image_size", "mean", "std", "trained_blocks"):
            if self.checkpoint is None and getattr(self, name) is not None:
                raise ConfigError(
                    f"transfer.{name} is {getattr(self, name)}, but training starts from random weights. "
                    "Name a checkpoint with transfer.checkpoint (allmlp finetune --from), or omit this setting."
                )


@dataclass(frozen=True, kw_only=True)
class DistillationConfig:
    """A teacher: a trained model whose answer about an image is a part of the image's label (arXiv 1503.02531).

    The teacher sees the same image as the model in training, augmented and mixed, as Beyer et al. advise (arXiv 2106.05237).

    Attributes:
        teacher: anything that `open_model` takes, with all classes of the photos; or the name of the function that `train` was
            given. None trains on the labels alone.
        weight: the teacher's share of the label: 1 - weight is left to the photo's own.
        digest: the start of the SHA-256 of the teacher's weights, or of its file if it is an export. None takes any, and the
            run keeps that of the teacher it starts with.
    """

    teacher: str | None = None
    weight: float = 0.5
    digest: str | None = None

    def __post_init__(self) -> None:
        if not 0.0 < self.weight <= 1.0:
            raise ConfigError(
                f"distillation.weight is {self.weight}; expected a share over 0 and at most 1, such as 0.5. To train without a "
                "teacher, leave distillation.teacher at none."
            )
        for name, default in (("weight", DistillationConfig.weight), ("digest", None)):
            if self.teacher is None and getattr(self, name) != default:
                raise ConfigError(
                    f"distillation.{name} is {getattr(self, name)}, but there is no teacher. Name one with "
                    "distillation.teacher (--teacher), or omit this setting."
                )
