"""The model card (README.md) of a repository on the Hub: what the model is, how to use it, and its limits."""

from collections.abc import Sequence
from dataclasses import dataclass

from allmlp.checkpoints.checkpoint import Checkpoint
from allmlp.data import Preprocessing
from allmlp.io.display import escape
from allmlp.model import num_parameters

__all__ = ["CARD_MARK", "CardScore", "model_card_text"]

# The Hub does not show it. A card that holds it may be replaced by a later push.
CARD_MARK = "<!-- Written by `allmlp push`, which replaces this card unless this line is removed. -->"

MAX_NAMES = 100
NOT_EVALUATED = "This model comes without an evaluation: measure it on your own photos before you rely on it."


@dataclass(frozen=True)
class CardScore:
    """A measured result of a checkpoint: the top-1 accuracy, 0 to 1, on all photos of a split, and the same in words."""

    split: str
    top1: float
    text: str
    """With the number of photos and the confidence interval, as other commands show it."""


def model_card_text(
    checkpoint: Checkpoint,
    *,
    repository: str,
    revision: str,
    form: str,
    license_id: str | None,
    evaluations: Sequence[CardScore],
) -> str:
    """Return the Markdown of the model card for a checkpoint uploaded in the format `form`, "allmlp" or "timm".

    `license_id` is a licence identifier of the Hub, such as "apache-2.0"; None states no licence. `evaluations` holds the
    results measured for this checkpoint, if any.
    """
    name = repository.rpartition("/")[2]
    measured = [f"Top-1 accuracy on the {result.split} photos of its run: {result.text}." for result in evaluations]
    parts = [
        _header(name, form, license_id, evaluations),
        f"# {name}\n\nAn [MLP-Mixer](https://arxiv.org/abs/2105.01601) that classifies photos into "
        f"{checkpoint.config.num_classes:,} classes.\n",
        f"**Origin.** {_text(checkpoint.source)}\n",
        "## Use\n\n" + _use(repository, revision, form),
        "## Model\n\n" + _table(_model_rows(checkpoint, form)),
        "## Pre-processing\n\n" + _table(_preprocessing_rows(checkpoint)),
        "## Classes\n\n" + _classes(checkpoint.class_names),
        "## Limits\n\n" + "".join(f"- {_text(line)}\n" for line in [*(measured or [NOT_EVALUATED]), *_LIMITS]),
        f"{CARD_MARK}\n",
    ]
    return "\n".join(parts)


_LIMITS = (
    "Every photo is assigned one of the classes above, even if it shows none of them.",
    "The figures hold for photos similar to those they were measured on.",
)


def _header(name: str, form: str, license_id: str | None, results: Sequence[CardScore]) -> str:
    """Return the card's YAML metadata, including the results in the form that the Hub displays."""
    from huggingface_hub import EvalResult, ModelCardData

    tags = ["image-classification", "mlp-mixer", "allmlp", *(["timm", "transformers"] if form == "timm" else [])]
    data = ModelCardData(
        library_name=form,
        pipeline_tag="image-classification",
        license=license_id,
        tags=tags,
        model_name=name if results else None,
        eval_results=[
            EvalResult(
                task_type="image-classification",
                dataset_type="photos",
                dataset_name="the photos of its run",
                dataset_split=result.split,
                metric_type="accuracy",
                metric_name=f"top-1 accuracy: {result.text}",  # the Hub has no field for an interval
                metric_value=round(result.top1, 6),
            )
            for result in results
        ]
        or None,
    )
    return f"---\n{data.to_yaml()}\n---\n"


def _use(repository: str, revision: str, form: str) -> str:
    source = f"hf:{repository}" + ("" if revision == "main" else f"@{revision}")
    blocks = [
        f"```sh\npip install allmlp\nallmlp predict {source} PHOTO.jpg\n```\n",
        "```python\nfrom allmlp import Predictor\n\n"
        f'predictor = Predictor.from_checkpoint("{source}")\nprint(predictor.predict("PHOTO.jpg"))\n```\n',
    ]
    if form == "timm":
        suffix = "" if revision == "main" else f"@{revision}"
        argument = "" if revision == "main" else f', revision="{revision}"'
        blocks += [
            "With timm (the class names are in `model.pretrained_cfg`):\n\n"
            f'```python\nimport timm\n\nmodel = timm.create_model("hf-hub:{repository}{suffix}", pretrained=True)\n```\n',
            "With transformers:\n\n"
            "```python\nfrom transformers import pipeline\n\n"
            f'print(pipeline("image-classification", "{repository}"{argument})("PHOTO.jpg"))\n```\n',
        ]
    return "\n".join(blocks)


def _model_rows(checkpoint: Checkpoint, form: str) -> list[tuple[str, str]]:
    config = checkpoint.config
    temperature = checkpoint.temperature if form == "allmlp" else 1.0  # other formats cannot hold it
    return [
        ("image size", f"{config.image_size[0]} × {config.image_size[1]} pixels"),
        ("patch size", f"{config.patch_size} × {config.patch_size} pixels, {config.num_tokens:,} tokens"),
        ("blocks", str(config.num_blocks)),
        ("hidden width (C)", str(config.hidden_dim)),
        ("token-mixing width (D_S)", str(config.tokens_mlp_dim)),
        ("channel-mixing width (D_C)", str(config.channels_mlp_dim)),
        ("GELU", config.gelu),
        ("parameters", f"{num_parameters(config):,}"),
        ("weights", ", ".join(sorted({str(weight.dtype)[6:] for weight in checkpoint.weights.values()}))),
        *([] if temperature == 1.0 else [("temperature", f"{temperature:.4g}")]),
    ]


def _preprocessing_rows(checkpoint: Checkpoint) -> list[tuple[str, str]]:
    preprocessing = checkpoint.preprocessing
    return [
        ("fit", f"{preprocessing.fit}, crop fraction {preprocessing.crop_fraction:g}"),
        ("interpolation", _interpolation(preprocessing)),
        ("mean", ", ".join(f"{value:g}" for value in preprocessing.mean)),
        ("standard deviation", ", ".join(f"{value:g}" for value in preprocessing.std)),
    ]


def _interpolation(preprocessing: Preprocessing) -> str:
    filters = f"{preprocessing.interpolation}, antialiased"
    if preprocessing.law == "allmlp":
        return filters
    if not preprocessing.is_antialiased:
        filters = "by area" if preprocessing.fit == "crop" else f"{preprocessing.interpolation}, not antialiased"
    return f"{filters}, with the rounding of {preprocessing.law}"


def _table(rows: Sequence[tuple[str, str]]) -> str:
    return "| | |\n|---|---|\n" + "".join(f"| {name} | {value} |\n" for name, value in rows)


def _classes(names: Sequence[str]) -> str:
    shown = ", ".join(_text(name) for name in names[:MAX_NAMES])
    rest = f" and {len(names) - MAX_NAMES:,} more, listed in `config.json`" if len(names) > MAX_NAMES else ""
    return f"{shown}{rest}.\n"


def _text(text: str) -> str:
    """Return untrusted text on one line, with its Markdown and HTML escaped."""
    escaped = escape(text).replace("&", "&amp;").replace("<", "&lt;")
    return "".join(f"\\{character}" if character in "\\`*_[]#|~" else character for character in escaped)
