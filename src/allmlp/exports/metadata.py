"""What an export says about itself: one JSON object under the key "allmlp", and the keys of OpenVINO's Model API next to it."""

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from allmlp.checkpoints import ModelDescription
from allmlp.config import from_dict
from allmlp.errors import CheckpointError, ConfigError
from allmlp.io.display import escape, shorten
from allmlp.io.json_object import MAX_CONFIG_BYTES

__all__ = [
    "DIGEST_KEY",
    "MODEL_INFO",
    "OWN_KEY",
    "PIXELS",
    "ChangedExportError",
    "ExportInfo",
    "Pixels",
    "QuantisationNote",
    "changed",
    "check_digest",
    "check_model_info",
    "info_text",
    "model_info",
    "model_info_differences",
    "no_description",
    "parse_info",
    "weights_digest",
]

OWN_KEY = "allmlp"
"""The key of the JSON object."""

DIGEST_KEY = "allmlp_sha256"
"""The key of a digest of the graph and the JSON object, by which damage is found."""

MODEL_INFO = "model_info"
"""The section of OpenVINO's Model API, which other programs read as well."""

Pixels = Literal["out", "in", "exact"]
"""Where photos become images: outside of a file, in its graph, or in its graph bit for bit as allmlp does it."""

PIXELS: tuple[Pixels, ...] = ("out", "in", "exact")

_FORMAT = "allmlp export"
_VERSION = 1

_RESIZE_TYPES = {"crop": "crop", "squash": "standard", "pad": "fit_to_window_letterbox"}

# What `checkpoints` says of weights in a local file or folder: its path, and then these words. A path may have any characters.
_LOCAL = re.compile(r"(?P<path>.*)(?P<rest> \([^()]*\): unknown origin.*|: \S+ by its SHA-256: .*)", re.DOTALL)
_HUB = re.compile(r"hf:[\w.-]+/[\w.-]+(@\S+)?")

# In sources that others wrote, a word with a separator, or with the ending of a file, is a part of a path: except names of the
# Hub, of files that the authors published, and of variants.
_WORD = re.compile(r"(?:Google's )?\S*[^\s:;,.)]")
_NO_PATH = re.compile(r"hf:.*|Google's .*|\(?[SBLH]/\d\d")
_FILE = re.compile(r".*\.(npz|npy|safetensors|pth?|pt2|tflite|bin|ckpt|onnx|xml|json)(\.\w{2,4})?", re.IGNORECASE)
_LOCAL_FILE = "a local file"

# White space as one, and each control character, lone surrogate and non-character of XML 1.0, section 2.2.
_NO_LABEL = re.compile(r"\s+|[\x00-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")


class ChangedExportError(CheckpointError):
    """An export that is not what was written: damaged, or edited."""


@dataclass(frozen=True, kw_only=True)
class QuantisationNote:
    """What an int8 export says about its making, as in its JSON object.

    Attributes:
        attempt: which layers became int8.
        num_integer_layers: how many multiply in integers.
        weight_bits: of the layers that multiply in integers.
        needs_vnni: whether sums saturate on a processor without VNNI, which then gives wrong answers.
        min_agreement: the share of photos with the answer of float32 (its class, and whether unknown) that was asked for.
        num_calibration_photos, num_judging_photos: how many set the ranges, and how many others measured the following.
        agreement: the share of the judging photos with the answer of float32.
        num_clear_photos: those whose two most probable classes differ by over 0.1 in float32.
        clear_agreement: the share of these with the answer of float32.
        calibration_split, judging_split: the splits of the photos, "" for a folder without splits, and in files that earlier
            versions wrote. If they are one split, it was divided.
    """

    attempt: str
    num_integer_layers: int
    weight_bits: Literal[7, 8]
    needs_vnni: bool
    min_agreement: float
    num_calibration_photos: int
    num_judging_photos: int
    agreement: float
    num_clear_photos: int
    clear_agreement: float
    calibration_split: str = ""
    judging_split: str = ""


@dataclass(frozen=True, kw_only=True)
class ExportInfo:
    """The JSON object of an export.

    Attributes:
        description: the model without its weights, as in config.json.
        precision: of the weights and the arithmetic, "float32", "int8" or, for torch, "bfloat16".
        weights_sha256: the digest of the checkpoint's weights in float32 (`weights_digest`), the same in every format.
        quantisation: how the weights became int8; None for float32.
        pixels: where photos become images: "out" of the file, "in" its graph, or "exact" in it.
    """

    description: ModelDescription
    precision: str
    weights_sha256: str
    quantisation: QuantisationNote | None = None
    pixels: Pixels = "out"

    @property
    def has_exact_pixels(self) -> bool:
        """Whether the images of its graph are those of allmlp, bit for bit: the authors' laws have no other graph."""
        return self.pixels == "exact" or (self.pixels == "in" and not self.description.preprocessing.is_antialiased)


@dataclass(frozen=True, kw_only=True)
class _InfoFile:
    """The keys of the JSON object and their types."""

    format: str
    version: int
    precision: str
    weights_sha256: str
    quantisation: QuantisationNote | None = None
    pixels: Pixels = "out"


def weights_digest(weights: Mapping[str, NDArray[np.float32]]) -> str:
    """Return the SHA-256 of weights: of each, sorted by name, its name, its shape, and its values as little-endian float32."""
    hashed = hashlib.sha256()
    for name in sorted(weights):
        array = np.ascontiguousarray(weights[name], dtype="<f4")
        hashed.update(f"{name} {'x'.join(map(str, array.shape))}\n".encode())
        hashed.update(array.data)
    return hashed.hexdigest()


def info_text(info: ExportInfo) -> str:
    """Return the JSON object as text in ASCII, without paths of this machine."""
    values = {
        "format": _FORMAT,
        "version": _VERSION,
        "precision": info.precision,
        "weights_sha256": info.weights_sha256,
        **({} if info.quantisation is None else {"quantisation": asdict(info.quantisation)}),
        **({} if info.pixels == "out" else {"pixels": info.pixels}),
        "checkpoint": without_paths(info.description).to_json_object(),
    }
    return json.dumps(values, separators=(",", ":"), allow_nan=False)


def parse_info(
    text: str,
    *,
    where: str,
    precisions: Sequence[str] = ("float32", "int8"),
    pixels: Sequence[Pixels] = ("out",),
) -> ExportInfo:
    """Parse the JSON object of an export, which has one of `precisions` and `pixels`; error messages start with `where`.

    Raises:
        CheckpointError: it is not an object of this format and version, or a value is missing, unknown or invalid.
    """
    if len(text) > MAX_CONFIG_BYTES:
        raise CheckpointError(
            f"{where}: larger than {MAX_CONFIG_BYTES >> 20} MiB; this is not a description of a Mixer."
        )
    try:
        values: Any = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{where}: could not be read as JSON: {error}. Export the checkpoint again.") from error
    if not isinstance(values, dict) or values.get("format") != _FORMAT:
        raise CheckpointError(f'{where}: not a description written by allmlp (it lacks "format": "{_FORMAT}").')
    if values.get("version") != _VERSION:
        raise CheckpointError(
            f"{where}: its format has version {str(values.get('version'))[:80]!r}; this allmlp reads version {_VERSION}. "
            "Update allmlp."
        )
    described = values.pop("checkpoint", None)
    if not isinstance(described, dict):
        raise CheckpointError(f'{where}: "checkpoint" is missing or not an object. Export the checkpoint again.')
    try:
        read = from_dict(_InfoFile, values, where=where)
    except ConfigError as error:
        raise CheckpointError(str(error)) from error
    if read.precision not in precisions:
        raise CheckpointError(
            f"{where}: its precision is {read.precision[:80]!r}; this allmlp runs such exports in {' and '.join(precisions)}. "
            "Update allmlp."
        )
    if read.pixels not in pixels:
        raise CheckpointError(
            f"{where}: its pixels are {read.pixels!r}, which such a file cannot have. Export the checkpoint again."
        )
    if (read.precision == "int8") != (read.quantisation is not None):
        raise CheckpointError(
            f'{where}: "quantisation" belongs to int8 and to nothing else. Export the checkpoint again.'
        )
    description = ModelDescription.from_json_object(described, where=where)
    return ExportInfo(
        description=description,
        precision=read.precision,
        weights_sha256=read.weights_sha256,
        quantisation=read.quantisation,
        pixels=read.pixels,
    )


def check_digest(found: str | None, expected: str, *, where: str) -> None:
    """Check an export against the digest in it, which the owner may delete to use a file that was edited on purpose.

    Raises:
        ChangedExportError: the digest differs.
    """
    if found is not None and found != expected:
        raise changed(where, f"its {DIGEST_KEY} differs")


def check_model_info(found: Mapping[str, str], info: ExportInfo, *, where: str) -> None:
    """Check that the keys of the Model API, which other programs read, say the same as the JSON object.

    Raises:
        ChangedExportError: they do not.
    """
    if wrong := model_info_differences(found, model_info(info.description, info.pixels)):
        raise changed(where, f"{MODEL_INFO} {', '.join(wrong)} differ from its description")


def model_info_differences(found: Mapping[str, str], expected: Mapping[str, str]) -> list[str]:
    """Return the names of keys of the Model API that differ, are missing, or too many."""
    return sorted(name for name in {*found, *expected} if found.get(name) != expected.get(name))


def changed(where: str, why: str) -> ChangedExportError:
    """Return the error for an export that is not what was written."""
    return ChangedExportError(
        f"{where}: changed since it was written ({shorten(escape(why), 300)}): damaged, or edited. Export the checkpoint again."
    )


def no_description(what: str, to: str) -> str:
    """Return what is wrong with a model of another program, and how to make one that allmlp runs."""
    return (
        f'{what} without the description that allmlp writes (the metadata key "{OWN_KEY}"), so its classes and its '
        f"pre-processing are unknown. To make one from a checkpoint: allmlp export CHECKPOINT --to {to}"
    )


def model_info(description: ModelDescription, pixels: Pixels = "out") -> dict[str, str]:
    """Return the keys of OpenVINO's Model API, for a classifier that takes RGB in float32, or photos if the pixels are inside.

    The API joins and splits lists at white space, so that spaces in class names become "_", as do characters that XML cannot
    hold, and other control characters. The API knows neither the crop fraction nor the filter, and resizes without antialiasing
    (0.4.7): of 60 photos of clothing, reduced to 64 pixels, 24 got another class, and none if we resized them. Programs that
    need exact answers or names read our own key.
    """
    preprocessing = description.preprocessing
    outside = {
        "mean_values": " ".join(f"{255 * value:.9g}" for value in preprocessing.mean),
        "scale_values": " ".join(f"{255 * value:.9g}" for value in preprocessing.std),
        "resize_type": _RESIZE_TYPES[preprocessing.fit],
    }
    return {
        "model_type": "Classification",
        "labels": " ".join(_NO_LABEL.sub("_", name) or "_" for name in description.class_names),
        **(outside if pixels == "out" else {"embedded_processing": "True"}),
        "output_raw_scores": "True",
        "multilabel": "False",
        "hierarchical": "False",
    }


def without_paths(description: ModelDescription) -> ModelDescription:
    """Return a description whose source names no file or folder of this machine: an export is given away."""
    source = description.source
    if match := _LOCAL.fullmatch(source):
        if _HUB.fullmatch(match["path"]):
            return description
        return replace(description, source=f"{_LOCAL_FILE}{match['rest']}")
    words = [word for word in _WORD.finditer(source) if _is_in_path(word[0])]
    if not words:
        return description
    # From the first word to the last one, as a path may contain spaces.
    source = f"{source[: words[0].start()]}{_LOCAL_FILE}{source[words[-1].end() :]}"
    return replace(description, source=source)


def _is_in_path(word: str) -> bool:
    is_separated = "/" in word or "\\" in word
    return _NO_PATH.fullmatch(word) is None and (is_separated or _FILE.fullmatch(word) is not None)
