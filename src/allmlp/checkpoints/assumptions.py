"""What is assumed of weights whose file does not state it: the pre-processing, by comparison with the published Mixers."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from allmlp.checkpoints.checkpoint import UNSTATED_PREPROCESSING
from allmlp.checkpoints.sources.catalog import CATALOG, PublishedModel, fitting
from allmlp.data import Preprocessing
from allmlp.model import MixerConfig

__all__ = ["assumed_preprocessing", "unknown_origin"]

# "resmall-crop" of the paper (section 3, table 3), assumed for weights whose pre-processing is unknown: by the law of the code
# that writes such names, or by ours.
_ASSUMED_CROP = 0.875
_ASSUMED_LAWS: Mapping[str, Mapping[str, Any]] = {
    "timm": {"law": "timm"},
    "google linen": {"law": "big_vision", "interpolation": "bilinear"},
    "google pre-linen": {"law": "big_vision", "interpolation": "bilinear"},
}

_ADVICE = "If it was another, give --law, --mean, --std, --interpolation or --fit (in Python: preprocessing=)."


def assumed_preprocessing(config: MixerConfig, scheme: str) -> tuple[Preprocessing, str]:
    """Return the pre-processing to assume for weights of a file that states none, and a remark that says so.

    It is that of the published Mixers whose shapes, classes and naming scheme fit, if these have the same. Only the
    pre-processing is assumed: where the weights come from is still unknown.

    Args:
        config: the configuration of the weights.
        scheme: the name of their naming scheme.
    """
    paper = Preprocessing(image_size=config.image_size, crop_fraction=_ASSUMED_CROP, **_ASSUMED_LAWS.get(scheme, {}))
    models = [CATALOG[name] for name in fitting(config) if _is_published_as(CATALOG[name], scheme)]
    choices: dict[Preprocessing, list[str]] = {}
    for model in models:
        choices.setdefault(replace(model.preprocessing, image_size=config.image_size), []).append(model.name)
    if len(choices) == 1:
        (chosen, names), *_ = choices.items()
        only = f"only {names[0]} has" if len(names) == 1 else f"{', '.join(names)} have"
        return chosen, (
            f"{UNSTATED_PREPROCESSING} Of the published Mixers, {only} weights with these names, shapes "
            f"and classes; assumed as there: {_words(chosen)}. {_ADVICE}"
        )
    reason = "No published Mixer has weights with these names, shapes and classes"
    if choices:
        different = "; ".join(
            f"{', '.join(names)}: {_words(choice)}" for choice, names in choices.items() if choice != paper
        )
        reason = f"Published Mixers with weights like these differ ({different})"
    return paper, (f"{UNSTATED_PREPROCESSING} {reason}; assumed that of the paper: {_words(paper)}. {_ADVICE}")


def unknown_origin(evidence: str, config: MixerConfig, form: str) -> str:
    """Return the source of weights of which only the file is known: what they fit, and no claim that they are that."""
    fits = fitting(config)
    fit = f"fits {', '.join(fits)}" if fits else "fits no published Mixer"
    return f"{evidence} ({form}): unknown origin; {fit}"


def _is_published_as(model: PublishedModel, scheme: str) -> bool:
    """Whether weights in this naming scheme may be those of `model`; ours may have been converted from any."""
    return scheme == "allmlp" or (scheme == "timm") == (model.hub_repository is not None)


def _words(preprocessing: Preprocessing) -> str:
    mean, std = (" ".join(f"{value:g}" for value in values) for values in (preprocessing.mean, preprocessing.std))
    return f"mean {mean}, std {std}, {preprocessing.interpolation}, law {preprocessing.law}"
