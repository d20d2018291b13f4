"""The command `allmlp models`."""

from typing import TYPE_CHECKING, Any

from allmlp.cli.arguments.output_format import Format, FormatOption
from allmlp.cli.console import aligned, command_line, heading, next_commands, say
from allmlp.io.json_object import json_text

if TYPE_CHECKING:
    from allmlp.checkpoints import PublishedModel

__all__ = ["models"]

# What to use unless something speaks for another one, by purpose.
_START_HERE = (
    ("starter", "fine-tune on a laptop, in minutes; comes with allmlp", ("finetune", "PHOTOS")),
    (
        "b16-i21k",
        "fine-tune for better accuracy: only the classifier",
        ("finetune", "PHOTOS", "--quality", "balanced"),
    ),
    ("b16-i21k", "fine-tune for the best accuracy, on a GPU", ("finetune", "PHOTOS", "--quality", "best")),
    ("b16-miil-i1k", "classify photos into ImageNet's 1,000 classes", ("predict", "b16-miil-i1k", "PHOTO.jpg")),
)

_NOTES = (
    "ImageNet top-1: as published, if we could verify it. paper: MLP-Mixer, arXiv 2105.01601; timm: measured by timm",
    "  (results-imagenet.csv); fine-tuned: after fine-tuning on ImageNet-1k, with weights that Google never released.",
    "  b16-sam: a user measured 68.9 % (google-research/vision_transformer issue 134, unanswered). Size: parameters.",
    "Source: a file of the authors below https://storage.googleapis.com/mixer_models, or a repository on the",
    "  Hugging Face hub (timm/...). Pre-processing: resize the short side to 256, crop the central 224 × 224, colours from",
    "  -1 to 1. The authors' files: by area, as in big_vision. timm's: bicubic, as in timm; MIIL's (miil): bilinear, colours",
    "  from 0 to 1.",
    "SAM and GSAM: arXiv 2106.01548 and 2203.08065; ImageNet-21K-P: arXiv 2104.10972.",
)


def models(output_format: FormatOption = Format.TEXT) -> None:
    """List the published Mixers. Those to start with come first.

    Shows accuracy, source, and whether they are cached.

    \b
    Examples:
      allmlp models
      allmlp models --format json
    """
    from allmlp.checkpoints import CATALOG

    if output_format is Format.JSON:
        print(json_text([_facts(model) for model in CATALOG.values()], indent=2))
        return
    heading("start here")
    for line in aligned([(name, purpose, command_line(*words)) for name, purpose, words in _START_HERE]):
        say(line)
    say()
    titles = ("name", "trained on", "classes", "size", "GELU", "ImageNet top-1", "source", "cached")
    lines = aligned([titles, *(_row(model) for model in CATALOG.values())], right=(2, 3))
    heading(lines[0])
    for line in lines[1:]:
        say(line)
    say()
    for note in (*_NOTES, *(f"! {model.warning}" for model in CATALOG.values() if model.warning)):
        say(note)
    first = next(iter(CATALOG))
    next_commands(
        [
            (command_line("inspect", first), "download it, unless it is cached, and describe it"),
            (f"{command_line('predict', first)} PHOTO.jpg", "classify photos with it"),
            (command_line("models", "--format", "json"), "list all details, with pre-processing and timm's names"),
        ]
    )


def _row(model: "PublishedModel") -> tuple[str, ...]:
    from allmlp.checkpoints import is_cached
    from allmlp.model import num_parameters

    return (
        model.name,
        model.trained_on,
        f"{model.config.num_classes:,}",
        f"{num_parameters(model.config) / 1e6:.1f} M",
        model.config.gelu,
        model.accuracy,
        model.hub_repository or model.url_path or "",
        "yes" if is_cached(model) else "no",
    )


def _facts(model: "PublishedModel") -> dict[str, Any]:
    from allmlp.checkpoints import is_cached
    from allmlp.config import to_dict
    from allmlp.model import num_parameters

    return {**to_dict(model), "parameters": num_parameters(model.config), "cached": is_cached(model)}
