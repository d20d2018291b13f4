"""`DEVIATIONS`: every known difference between the authors' recipes here and the authors' own settings."""

from dataclasses import dataclass

from allmlp.errors import ConfigError

__all__ = ["DEVIATIONS", "FEW_SHOT", "Deviation", "deviations_of"]

FEW_SHOT = "evaluate --shots"
"""What else than recipes deviates."""


@dataclass(frozen=True, kw_only=True)
class Deviation:
    """A difference to the authors' settings.

    Attributes:
        setting: the key of a recipe, such as "best_by", or what differs in words.
        ours: our value. For a key, it begins with the value in the recipes.
        authors: theirs.
        why: the reason, or the consequence.
        source: where their value is stated.
        applies_to: the recipes, or `FEW_SHOT`.
    """

    setting: str
    ours: str
    authors: str
    why: str
    source: str
    applies_to: tuple[str, ...]


_REGULARISED = ("imagenet_b16", "imagenet_l16", "imagenet21k_b16", "imagenet21k_l16", "big_vision_b16")
_JFT = ("jft_s16", "jft_b16", "jft_l16", "jft_h14")
_PRETRAINING = (*_REGULARISED, *_JFT)
_PAPER_FINE_TUNING = ("finetune_paper", "finetune_paper_squash")
_RELEASED_FINE_TUNING = ("finetune_cifar",)
_ALL = (*_PRETRAINING, *_PAPER_FINE_TUNING, *_RELEASED_FINE_TUNING)

_BIG_VISION = "big_vision, configs/mlp_mixer_i1k.py"
_OPS_IMAGE = "big_vision, pp/ops_image.py"
_VIT_JAX = "vision_transformer, vit_jax/input_pipeline.py"
_VIT_JAX_COMMON = "vision_transformer, vit_jax/configs/common.py"

DEVIATIONS: tuple[Deviation, ...] = (
    Deviation(
        setting="decoding of JPEG",
        ours="Pillow, turned upright by EXIF",
        authors="TensorFlow's default (another DCT), EXIF ignored",
        why="one decoder for training, evaluation and prediction",
        source=f"{_OPS_IMAGE} (decode); {_VIT_JAX}",
        applies_to=_ALL,
    ),
    Deviation(
        setting="size of training photos",
        ours="reduced to 4 times the image size (Pillow's BOX) if larger",
        authors="as they are",
        why="bounds memory; at 224 pixels, photos with a short side of up to 896 are as they are",
        source=f"{_OPS_IMAGE}; {_VIT_JAX}",
        applies_to=_ALL,
    ),
    Deviation(
        setting="panoramas in training",
        ours="cut to 4:1",
        authors="as they are",
        why="bounds memory: the widest photo sets the width of its batch",
        source=f"{_OPS_IMAGE}; {_VIT_JAX}",
        applies_to=tuple(name for name in _ALL if name != "finetune_paper_squash"),
    ),
    Deviation(
        setting="order of training photos",
        ours="a random permutation per epoch",
        authors="a shuffle buffer of 250,000 photos",
        why="a function of (seed, epoch), so that a resumed run repeats it",
        source=_BIG_VISION,
        applies_to=_PRETRAINING,
    ),
    Deviation(
        setting="order of training photos",
        ours="a random permutation per epoch",
        authors="a shuffle buffer of 50,000 photos over repeated data",
        why="a function of (seed, epoch), so that a resumed run repeats it",
        source=_VIT_JAX_COMMON,
        applies_to=_RELEASED_FINE_TUNING,
    ),
    Deviation(
        setting="data.holdout",
        ours="0.01 of each class, drawn at random, if there is no validation split",
        authors="the last 1 % of train",
        why="the order of photos in a folder may be that of classes",
        source=f"{_BIG_VISION} (train[:99%])",
        applies_to=_PRETRAINING,
    ),
    Deviation(
        setting="data.holdout",
        ours="0.02 of each class, drawn at random, if there is no validation split",
        authors="the last 2 % of train, not scored",
        why="the order of photos in a folder may be that of classes",
        source=f"{_VIT_JAX_COMMON} (train[:98%])",
        applies_to=_RELEASED_FINE_TUNING,
    ),
    Deviation(
        setting="data.holdout",
        ours="0.1 of each class, drawn at random, if there is no validation split; never trained on",
        authors="1 % of ImageNet, 2 % of CIFAR, 10 % of Pets and Flowers choose the learning rate; the last run trains on all",
        why="every run needs validation photos; `allmlp study avg5` trains on all in the end",
        source="the paper, appendix C; ViT (arXiv 2010.11929), appendix B.1.1",
        applies_to=_PAPER_FINE_TUNING,
    ),
    Deviation(
        setting="best_by",
        ours="top1: the weights of the epoch with the best validation top-1",
        authors="the last weights",
        why="as in all recipes; the authors' choice: --set best_by=last",
        source=f"{_BIG_VISION}; vision_transformer, vit_jax/train.py",
        applies_to=_ALL,
    ),
    Deviation(
        setting="warm-up",
        ours="step i of w has (i + 1) / w of the learning rate",
        authors="i / w",
        why="the first step is not wasted; the same from step w on",
        source="big_vision, utils.py; vision_transformer, vit_jax/utils.py",
        applies_to=_ALL,
    ),
    Deviation(
        setting="precision",
        ours="auto: bfloat16 for the forward and backward pass where that is faster",
        authors="float32",
        why="speed; the authors' choice: --set precision=float32",
        source="big_vision, models/mlp_mixer.py; vision_transformer, vit_jax/models_mixer.py",
        applies_to=_ALL,
    ),
    Deviation(
        setting="rounding of pixels in training",
        ours="cast to whole levels; those that are whole already stay so",
        authors="cast to whole levels; errors of float32 lower some of those by one",
        why="these errors depend on the order of operations",
        source=f"{_OPS_IMAGE} (resize)",
        applies_to=_PRETRAINING,
    ),
    Deviation(
        setting="rounding of pixels in evaluation",
        ours="whole levels",
        authors="fractions of levels",
        why="resized photos are kept and exported as bytes; at most half a level",
        source=_VIT_JAX,
        applies_to=_RELEASED_FINE_TUNING,
    ),
    Deviation(
        setting="photos of an evaluation",
        ours="all",
        authors="whole batches of 512 only",
        why="exact accuracy",
        source=f"{_VIT_JAX} (drop_remainder)",
        applies_to=_RELEASED_FINE_TUNING,
    ),
    Deviation(
        setting="ratio of mixup",
        ours="each photo draws its own, on either side of 1/2",
        authors="one per batch, max(a, 1 - a), so that a photo's own share is at least 1/2",
        why="the same mixtures of two photos; a batch has many ratios",
        source="big_vision, utils.py (get_mixup)",
        applies_to=_REGULARISED,
    ),
    Deviation(
        setting="shears of RandAugment",
        ours="from the corner of a pixel (Pillow)",
        authors="from its centre",
        why="up to half of the shear, in pixels",
        source="big_vision, pp/autoaugment.py",
        applies_to=_REGULARISED,
    ),
    Deviation(
        setting="model.stochastic_depth",
        ours="0.1, rising from block to block; both MLPs of a block have the same rate",
        authors="0.1, rising from MLP to MLP (appendix B)",
        why="the authors' code (big_vision, models/mlp_mixer.py) does as we do",
        source="the paper, appendix B",
        applies_to=tuple(name for name in _REGULARISED if name != "big_vision_b16"),
    ),
    Deviation(
        setting="loss",
        ours="softmax cross-entropy",
        authors="not stated",
        why="as on ImageNet; otherwise: --set loss=sigmoid --set head_bias=...",
        source="the paper, appendix B",
        applies_to=("imagenet21k_b16", "imagenet21k_l16", *_JFT),
    ),
    Deviation(
        setting="optimizer.weight_decay",
        ours="0.1, multiplied by the learning rate",
        authors="1e-4, multiplied by the schedule without its peak of 1e-3",
        why="the same decay in every step",
        source=_BIG_VISION,
        applies_to=("big_vision_b16",),
    ),
    Deviation(
        setting="momentum",
        ours="kept in float32",
        authors="kept in bfloat16",
        why="more exact",
        source="vision_transformer, vit_jax/train.py",
        applies_to=_RELEASED_FINE_TUNING,
    ),
    Deviation(
        setting="num_epochs",
        ours="100",
        authors="ViT's steps: 20,000 on ImageNet, 10,000 on CIFAR, 500 on Pets and Flowers, 2,500 on VTAB-1k",
        why="one length for photos of any number; `allmlp study avg5` takes theirs, and --set num_steps=500 --set num_epochs=0",
        source="the paper, appendix C; ViT (arXiv 2010.11929), table 4",
        applies_to=_PAPER_FINE_TUNING,
    ),
    Deviation(
        setting="schedule.warmup",
        ours="0.05 of all steps",
        authors="not stated in the paper; 500 steps in the released code",
        why="the same for 10,000 steps; otherwise: --set schedule.warmup_steps=500",
        source=f"the paper, section 3; {_VIT_JAX_COMMON}",
        applies_to=_PAPER_FINE_TUNING,
    ),
    Deviation(
        setting="augmentation.pad_pixels",
        ours="16, in pixels of the image: random crops of 224 of 256",
        authors="not stated in the paper; inception crops in the released code",
        why="random crops are BiT's (arXiv 1912.11370); at another image size, set a fourteenth of it",
        source=f"the paper, section 3; {_VIT_JAX}",
        applies_to=_PAPER_FINE_TUNING,
    ),
    Deviation(
        setting="pre-processing of few-shot photos",
        ours="the checkpoint's",
        authors="squashed to 256 without antialiasing, then the central 224",
        why="features of a model on the photos that it is used on",
        source="big_vision, configs/common_fewshot.py",
        applies_to=(FEW_SHOT,),
    ),
)


def deviations_of(name: str) -> tuple[Deviation, ...]:
    """Return the differences between the recipe `name` and the authors' settings.

    Raises:
        ConfigError: the recipe is not one of the authors'.
    """
    found = tuple(deviation for deviation in DEVIATIONS if name in deviation.applies_to)
    if not found:
        raise ConfigError(
            f"{name}: this recipe is ours, so that there are no authors' settings to compare it with. The authors' recipes are "
            f"{', '.join(_ALL)}."
        )
    return found
