"""The README.md of a repository on the hub: what the model is, how it is used, and what is not known of it."""

from collections.abc import Sequence

from allmlp.checkpoints.checkpoint import Checkpoint
from allmlp.io.display import escape
from allmlp.model import num_parameters

__all__ = ["CARD_MARK", "model_card_text"]

# Not shown on the hub. A card with it may be replaced by the next.
CARD_MARK = "<!-- Written by `allmlp push`, which replaces this card unless this line is removed. -->"

MAX_NAMES = 100
NOT_EVALUATED = "No evaluation came with this model: measure it on photos of your own before you rely on it."


def model_card_text(
    checkpoint: Checkpoint,
    *,
    repository: str,
    revision: str,
    form: str,
    license_id: str | None,
    evaluations: Sequence[str],
) -> str:
    """Return the card of a checkpoint that is uploaded as `form`, "allmlp" or "timm", in Markdown.

    `license_id` is one of the hub's, such as "apache-2.0"; None leaves it open. `evaluations` are sentences with measured
    figures.
    """
    name = repository.rpartition("/")[2]
    parts = [
        _header(form, license_id),
        f"# {name}\n\nAn [MLP-Mixer](https://arxiv.org/abs/2105.01601) that sorts photos into "
        f"{checkpoint.config.num_classes:,} classes.\n",
        f"**Origin.** {_text(checkpoint.source)}\n",
        "## Use\n\n" + _use(repository, revision, form),
        "## Model\n\n" + _table(_model_rows(checkpoint, form)),
        "## Pre-processing\n\n" + _table(_preprocessing_rows(checkpoint)),
        "## Classes\n\n" + _classes(checkpoint.class_names),
        "## Limits\n\n" + "".join(f"- {_text(line)}\n" for line in [*(evaluations or [NOT_EVALUATED]), *_LIMITS]),
        f"{CARD_MARK}\n",
    ]
    return "\n".join(parts)


_LIMITS = (
    "Every photo gets one of the classes above, also one that shows none of them.",
    "Figures hold for photos like those that they were measured on.",
)


def _header(form: str, license_id: str | None) -> str:
    tags = ["mlp-mixer", "allmlp", *(["timm", "transformers"] if form == "timm" else [])]
    lines = ["---", f"library_name: {form}", "pipeline_tag: image-classification"]
    lines += [f"license: {license_id}"] if license_id else []
    lines += ["tags:", *(f"- {tag}" for tag in ["image-classification", *tags]), "---", ""]
    return "\n".join(lines)


def _use(repository: str, revision: str, form: str) -> str:
    source = f"hf:{repository}" + ("" if revision == "main" else f"@{revision}")
    blocks = [
        f"```sh\npip install allmlp\nallmlp predict {source} PHOTO.jpg\n```\n",
        "```python\nfrom allmlp import Predictor\n\n"
        f'predictor = Predictor.from_checkpoint("{source}")\nprint(predictor.predict("PHOTO.jpg"))\n```\n',
    ]
    if form == "timm":
        at = "" if revision == "main" else f"@{revision}"
        branch = "" if revision == "main" else f', revision="{revision}"'
        blocks += [
            "With timm, class names in `model.pretrained_cfg`:\n\n"
            f'```python\nimport timm\n\nmodel = timm.create_model("hf-hub:{repository}{at}", pretrained=True)\n```\n',
            "With transformers:\n\n"
            "```python\nfrom transformers import pipeline\n\n"
            f'print(pipeline("image-classification", "{repository}"{branch})("PHOTO.jpg"))\n```\n',
        ]
    return "\n".join(blocks)


def _model_rows(checkpoint: Checkpoint, form: str) -> list[tuple[str, str]]:
    config = checkpoint.config
    temperature = checkpoint.temperature if form == "allmlp" else 1.0  # other forms cannot hold it
    return [
        ("image", f"{config.image_size[0]} × {config.image_size[1]} pixels"),
        ("patch", f"{config.patch_size} × {config.patch_size} pixels, {config.num_tokens:,} tokens"),
        ("blocks", str(config.num_blocks)),
        ("width of a token (C)", str(config.hidden_dim)),
        ("token mixing (D_S)", str(config.tokens_mlp_dim)),
        ("channel mixing (D_C)", str(config.channels_mlp_dim)),
        ("GELU", config.gelu),
        ("parameters", f"{num_parameters(config):,}"),
        ("weights", ", ".join(sorted({str(weight.dtype)[6:] for weight in checkpoint.weights.values()}))),
        *([] if temperature == 1.0 else [("temperature of probabilities", f"{temperature:.4g}")]),
    ]


def _preprocessing_rows(checkpoint: Checkpoint) -> list[tuple[str, str]]:
    preprocessing = checkpoint.preprocessing
    return [
        ("fit", f"{preprocessing.fit}, crop fraction {preprocessing.crop_fraction:g}"),
        ("interpolation", f"{preprocessing.interpolation}, antialiased"),
        ("mean", ", ".join(f"{value:g}" for value in preprocessing.mean)),
        ("standard deviation", ", ".join(f"{value:g}" for value in preprocessing.std)),
    ]


def _table(rows: Sequence[tuple[str, str]]) -> str:
    return "| | |\n|---|---|\n" + "".join(f"| {name} | {value} |\n" for name, value in rows)


def _classes(names: Sequence[str]) -> str:
    shown = ", ".join(_text(name) for name in names[:MAX_NAMES])
    rest = f" and {len(names) - MAX_NAMES:,} more, listed in `config.json`" if len(names) > MAX_NAMES else ""
    return f"{shown}{rest}.\n"


def _text(text: str) -> str:
    """Return foreign text on one line, as it stands: nothing in it is Markdown or HTML."""
    escaped = escape(text).replace("&", "&amp;").replace("<", "&lt;")
    return "".join(f"\\{character}" if character in "\\`*_[]#|~" else character for character in escaped)
