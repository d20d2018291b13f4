"""The published Mixers: the authors' eleven files, and timm's six repositories on the Hugging Face Hub.

Names describe the weights, even where the publisher's name is misleading. Sources of the facts in this catalogue:

- folders, files, classes and pre-processing: the authors' repository (google-research/vision_transformer) and timm's
  default_cfgs. The authors' README refers to table 3 for the accuracies of their files, whose evaluation is "resmall-crop"
  (section 3): short side resized to 256, centre crop of 224. big_vision, the authors' code for pre-training, does that by area
  (configs/mlp_mixer_i1k.py), and so do we for their files (law "big_vision"); vit_jax, their code for fine-tuning, squashes
  instead (law "vit_jax"). timm's files are evaluated by timm's law;
- accuracies on ImageNet's 50,000 validation photos: "paper" is MLP-Mixer, arXiv 2105.01601v4; "timm" is timm's own
  measurement of the weights on the Hub (results/results-imagenet.csv of huggingface/pytorch-image-models). An accuracy
  without a source that could be checked is left empty, such as those of the GSAM paper.

The authors publish no digests of their files, so the first download records them (published.py). The Hub states the digest
of each of its files, which is checked (hub.py).
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from allmlp.data import NUM_IMAGENET_CLASSES, Preprocessing
from allmlp.errors import CheckpointError
from allmlp.model import VARIANTS, Gelu, MixerConfig, num_parameters

__all__ = ["CATALOG", "SIZES", "PublishedModel", "find_published", "fitting", "max_weight_bytes"]

PAPER_PREPROCESSING = Preprocessing(
    image_size=(224, 224), crop_fraction=0.875, interpolation="bilinear", law="big_vision"
)
TIMM_PREPROCESSING = Preprocessing(image_size=(224, 224), crop_fraction=0.875, law="timm")
# MIIL trained on pixel values from 0 to 1 (timm's default_cfgs).
MIIL_PREPROCESSING = replace(TIMM_PREPROCESSING, interpolation="bilinear", mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))

# Table 1 has no patch size of 8: the released S/8 is S/16 with four times the tokens.
SIZES = {**VARIANTS, "S/8": replace(VARIANTS["S/16"], patch_size=8)}


@dataclass(frozen=True, kw_only=True)
class PublishedModel:
    """Published weights, and what is known about them.

    Attributes:
        name: our name, such as "b16-i1k".
        variant: a row of the paper's table 1, such as "B/16"; "S/8" follows the same rule.
        config: includes the number of classes, and the GELU of the code that the weights are published for.
        trained_on: training data and method, in words.
        labels: the name of the class list in `data.label_names`; None if the classes have no names.
        preprocessing: the pre-processing of the evaluation.
        url_path: the path of the authors' file in their bucket; None for weights on the Hub.
        hub_repository: owner/name on the Hugging Face Hub; None for the authors' files.
        timm_name: timm's name with its tag; None for the authors' files.
        accuracy: the published top-1 accuracy with its source; "" if none could be checked.
        sha256: the file's digest; None if the first download records it.
        warning: what every user of these weights should know, or "".
    """

    name: str
    variant: str
    config: MixerConfig
    trained_on: str
    labels: str | None
    preprocessing: Preprocessing
    url_path: str | None
    hub_repository: str | None
    timm_name: str | None
    accuracy: str
    sha256: str | None
    warning: str = ""


def find_published(name: str) -> PublishedModel | None:
    """Return the catalogue entry for `name`; None if there is none.

    Accepts our names, timm's names with or without their tag or a leading "timm/", and timm's former names. A bare
    "mixer_b16_224" means the weights that timm loads for it.

    Raises:
        CheckpointError: timm defines this Mixer but has no weights for it.
    """
    if name in CATALOG:
        return CATALOG[name]
    timm_name = name.removeprefix("timm/")
    known = {model.timm_name: model for model in CATALOG.values() if model.timm_name is not None}
    timm_name = _TIMM_ALIASES.get(timm_name, timm_name)
    if timm_name.removesuffix(".untrained") in _TIMM_WITHOUT_WEIGHTS:
        raise CheckpointError(
            f"{name}: timm defines this Mixer, but there are no published weights for it. "
            f"Published Mixers: {', '.join(CATALOG)}. `allmlp models` describes them."
        )
    return known.get(timm_name)


def max_weight_bytes(model: PublishedModel) -> int:
    """Return the largest size that a file with the weights of `model` may have: twice that of its numbers in float32."""
    return 2 * 4 * num_parameters(model.config) + (1 << 20)


def fitting(config: MixerConfig) -> tuple[str, ...]:
    """Return the names of the published models whose weights have these shapes, classes included."""
    return tuple(name for name, model in CATALOG.items() if _shape(model.config) == _shape(config))


def _shape(config: MixerConfig) -> tuple[int, ...]:
    # Weights reveal the number of tokens but not the image size, and nothing about the GELU.
    return (
        config.patch_size,
        config.num_blocks,
        config.num_tokens,
        config.hidden_dim,
        config.tokens_mlp_dim,
        config.channels_mlp_dim,
        config.num_classes,
    )


def _config(variant: str, labels: str, gelu: Gelu) -> MixerConfig:
    return replace(SIZES[variant], num_classes=NUM_IMAGENET_CLASSES[labels], gelu=gelu)


def _google(name: str, folder: str, variant: str, trained_on: str, labels: str, accuracy: str = "") -> PublishedModel:
    return PublishedModel(
        name=name,
        variant=variant,
        config=_config(variant, labels, "tanh"),  # vit_jax/models_mixer.py: flax's default
        trained_on=trained_on,
        labels=labels,
        preprocessing=PAPER_PREPROCESSING,
        url_path=f"{folder}/Mixer-{variant.replace('/', '_')}.npz",
        hub_repository=None,
        timm_name=None,
        accuracy=accuracy,
        sha256=None,
    )


def _hub(
    name: str,
    timm_name: str,
    variant: str,
    trained_on: str,
    labels: str,
    accuracy: str,
    preprocessing: Preprocessing = TIMM_PREPROCESSING,
    warning: str = "",
) -> PublishedModel:
    return PublishedModel(
        name=name,
        variant=variant,
        config=_config(variant, labels, "erf"),  # which timm computes and measured
        trained_on=trained_on,
        labels=labels,
        preprocessing=preprocessing,
        url_path=None,
        hub_repository=f"timm/{timm_name}",
        timm_name=timm_name,
        accuracy=accuracy,
        sha256=None,
        warning=warning,
    )


# Paper, table 4: all four were trained for 300 epochs.
_I1K = "ImageNet-1k from scratch, 300 epochs"
_I21K = "ImageNet-21k, 300 epochs"
_SAM = "ImageNet-1k from scratch, SAM"  # arXiv 2106.01548
_GSAM = "ImageNet-1k from scratch, GSAM"  # arXiv 2203.08065
_MIIL = "ImageNet-21K-P"  # arXiv 2104.10972

# "fine-tuned": the accuracy after fine-tuning on ImageNet-1k. Google never released the fine-tuned weights.
_B16_I21K = "80.64 % fine-tuned, paper table 3"
_L16_I21K = "82.89 % fine-tuned, paper table 3"
# Quoted from arXiv 2106.01548 in google-research/vision_transformer issue 134, whose author measured 68.9 % with this file
# (and 72.6 % with b16-i1k) and got no answer.
_B16_SAM = "77.4 % claimed, issue 134"


def _misnamed(timm_name: str, ours: str, row: str, other_row: str, evidence: str) -> str:
    return (
        f"timm/{timm_name}: despite its name, this is the ImageNet-1k model trained from scratch (Google's {ours}), "
        f"not one pre-trained on ImageNet-21k: timm measures {row}, not {other_row}; {evidence} "
        "The model that was fine-tuned from ImageNet-21k was never released."
    )


_B16_WARNING = _misnamed(
    "mixer_b16_224.goog_in21k_ft_in1k",
    "b16-i1k",
    "76.6 % top-1, which matches the paper's ImageNet row (76.44 %)",
    "its ImageNet-21k row (80.64 %)",
    'timm\'s own results/model_metadata-in1k.csv says "in1k", and so does an author of the paper (timm pull request 651).',
)
_L16_WARNING = _misnamed(
    "mixer_l16_224.goog_in21k_ft_in1k",
    "l16-i1k",
    "72.1 % top-1, which matches the paper's ImageNet row (71.76 %)",
    "its ImageNet-21k row (82.89 %)",
    'timm\'s own results/model_metadata-in1k.csv says "in1k".',
)

_MODELS = (
    _google("b16-i1k", "imagenet1k", "B/16", _I1K, "imagenet-1k", "76.44 %, paper table 3"),
    _google("l16-i1k", "imagenet1k", "L/16", _I1K, "imagenet-1k", "71.76 %, paper table 3"),
    _google("b16-i21k", "imagenet21k", "B/16", _I21K, "imagenet-21k", _B16_I21K),
    _google("l16-i21k", "imagenet21k", "L/16", _I21K, "imagenet-21k", _L16_I21K),
    _google("b16-sam", "sam", "B/16", _SAM, "imagenet-1k", _B16_SAM),
    _google("b32-sam", "sam", "B/32", _SAM, "imagenet-1k"),
    _google("b16-gsam", "gsam", "B/16", _GSAM, "imagenet-1k"),
    _google("b32-gsam", "gsam", "B/32", _GSAM, "imagenet-1k"),
    _google("s16-gsam", "gsam", "S/16", _GSAM, "imagenet-1k"),
    _google("s32-gsam", "gsam", "S/32", _GSAM, "imagenet-1k"),
    _google("s8-gsam", "gsam", "S/8", _GSAM, "imagenet-1k"),
    _hub("b16-i21k-timm", "mixer_b16_224.goog_in21k", "B/16", _I21K, "imagenet-21k", _B16_I21K),
    _hub("l16-i21k-timm", "mixer_l16_224.goog_in21k", "L/16", _I21K, "imagenet-21k", _L16_I21K),
    _hub(
        "b16-i1k-timm",
        "mixer_b16_224.goog_in21k_ft_in1k",
        "B/16",
        _I1K,
        "imagenet-1k",
        "76.62 %, timm",
        warning=_B16_WARNING,
    ),
    _hub(
        "l16-i1k-timm",
        "mixer_l16_224.goog_in21k_ft_in1k",
        "L/16",
        _I1K,
        "imagenet-1k",
        "72.08 %, timm",
        warning=_L16_WARNING,
    ),
    _hub(
        "b16-miil-i21k",
        "mixer_b16_224.miil_in21k",
        "B/16",
        _MIIL,
        "imagenet-21k-miil",
        "82.31 % fine-tuned, timm",  # as b16-miil-i1k
        MIIL_PREPROCESSING,
    ),
    _hub(
        "b16-miil-i1k",
        "mixer_b16_224.miil_in21k_ft_in1k",
        "B/16",
        f"{_MIIL}, then ImageNet-1k",
        "imagenet-1k",
        "82.31 %, timm",
        MIIL_PREPROCESSING,
    ),
)

CATALOG: Mapping[str, PublishedModel] = {model.name: model for model in _MODELS}

_TIMM_ALIASES = {
    # The weights that timm loads for a name without a tag.
    "mixer_b16_224": "mixer_b16_224.goog_in21k_ft_in1k",
    "mixer_l16_224": "mixer_l16_224.goog_in21k_ft_in1k",
    # timm's former names. timm now resolves the first two to the ImageNet-1k weights, which is a mistake: they used to name
    # the ImageNet-21k weights (files jx_mixer_b16_224_in21k-617b3de2.pth and its L/16 counterpart).
    "mixer_b16_224_in21k": "mixer_b16_224.goog_in21k",
    "mixer_l16_224_in21k": "mixer_l16_224.goog_in21k",
    "mixer_b16_224_miil": "mixer_b16_224.miil_in21k_ft_in1k",
    "mixer_b16_224_miil_in21k": "mixer_b16_224.miil_in21k",
}
_TIMM_WITHOUT_WEIGHTS = ("mixer_s32_224", "mixer_s16_224", "mixer_b32_224", "mixer_l32_224")
