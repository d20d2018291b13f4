"""Checkpoint arguments: loading from any source, at any image size, with another pre-processing."""

import contextlib
import os
import re
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple

import typer

from allmlp.cli.console import command_line, download_bar, is_first_process, note
from allmlp.errors import ConfigError
from allmlp.runs.layout import RunLayout

if TYPE_CHECKING:
    from allmlp.checkpoints import ArrayCheckpoint, Checkpoint, ModelDescription
    from allmlp.inference import Output, RunnableModel

__all__ = [
    "BackendName",
    "BackendOption",
    "CheckpointArgument",
    "FitOption",
    "ImageSizeOption",
    "InterpolationOption",
    "LawOption",
    "LoadedSource",
    "MeanOption",
    "ModelArgument",
    "PrecisionOption",
    "StdOption",
    "changed_preprocessing",
    "check_export_size",
    "check_order",
    "load",
    "load_for_export",
    "load_source",
    "model_opener",
    "open_source",
    "option_words",
    "parse_sides",
]

CheckpointArgument = Annotated[
    str,
    typer.Argument(
        metavar="CHECKPOINT",
        help="A run or checkpoint folder, a weight file (.npz, .safetensors, .pth), hf:OWNER/NAME, or the name of a "
        "published Mixer (see the models command).",
        show_default=False,
    ),
]
ModelArgument = Annotated[
    str,
    typer.Argument(
        metavar="CHECKPOINT",
        help="A run or checkpoint folder, a weight file (.npz, .safetensors, .pth), an export (.onnx, .xml, .pt2, .tflite), "
        "hf:OWNER/NAME, or the name of a published Mixer (see the models command).",
        show_default=False,
    ),
]
BackendName = Literal["auto", "eager", "compiled", "onnxruntime", "openvino", "litert"]
"""The keys of `BACKENDS`, whose import here would load NumPy, and "auto"."""

_WITHOUT_TORCH = ("onnxruntime", "openvino", "litert")
"""Those that take weights in NumPy."""

BackendOption = Annotated[
    BackendName,
    typer.Option(
        "--backend",
        help="The engine. auto: the fastest by `allmlp bench --tune`; untuned, PyTorch (eager) for checkpoints, and "
        "what belongs to the file for exports.",
    ),
]
PrecisionOption = Annotated[
    str,
    typer.Option(
        metavar="auto|float32|bfloat16",
        help="Of matrix products. auto: float32. bfloat16: faster where the processor has it, and less exact.",
    ),
]
ImageSizeOption = Annotated[
    str | None,
    typer.Option(
        metavar="N|HxW", help="Use the Mixer at another image size, in pixels.", show_default="the checkpoint's"
    ),
]
MeanOption = Annotated[
    str | None,
    typer.Option(metavar="R,G,B", help="Mean of the colours, from 0 to 1.", show_default="the checkpoint's"),
]
StdOption = Annotated[
    str | None,
    typer.Option(metavar="R,G,B", help="Standard deviation of the colours.", show_default="the checkpoint's"),
]
InterpolationOption = Annotated[
    Literal["bilinear", "bicubic"] | None,
    typer.Option(help="How photos are resized.", show_default="the checkpoint's"),
]
LawOption = Annotated[
    Literal["allmlp", "timm", "big_vision", "vit_jax"] | None,
    typer.Option(
        help="Whose code photos are resized and cropped as; the authors' also set fit and interpolation.",
        show_default="the checkpoint's",
    ),
]
FitOption = Annotated[
    Literal["crop", "squash", "pad"] | None,
    typer.Option(help="How photos of another shape are made to fit.", show_default="the checkpoint's"),
]


def changed_preprocessing(
    mean: str | None, std: str | None, interpolation: str | None, fit: str | None, law: str | None = None
) -> dict[str, Any]:
    """Return the fields of the pre-processing that the options change.

    Raises:
        ConfigError: not a colour.
    """
    colours = {"mean": mean, "std": std}
    changes: dict[str, Any] = {
        name: _parse_colour(text, option=f"--{name}") for name, text in colours.items() if text is not None
    }
    choices = {"interpolation": interpolation, "fit": fit, "law": law}
    return changes | {name: value for name, value in choices.items() if value}


def check_order(command: str, checkpoint: str, data: Sequence[str]) -> None:
    """Check that the checkpoint was not given after the data.

    Raises:
        ConfigError: it was.
    """
    later = next((each for each in data if _is_checkpoint_folder(each)), None)
    if later is not None and not _is_checkpoint_folder(checkpoint) and os.path.exists(checkpoint):  # noqa: PTH110
        raise ConfigError(f"The checkpoint comes first: {command_line(command, later, checkpoint)}")


def _is_checkpoint_folder(name: str) -> bool:
    with contextlib.suppress(OSError, ValueError):  # a name that no file can have
        return RunLayout(Path(name)).recipe.is_file() or (Path(name) / "config.json").is_file()
    return False


def load(source: str, image_size: str | None = None, preprocessing: dict[str, Any] | None = None) -> "Checkpoint":
    """Load a checkpoint, at another image size and with a changed pre-processing if given; notes report what was assumed.

    Raises:
        CheckpointError: no usable checkpoint at `source`.
        ConfigError: an invalid image size or pre-processing.
    """
    sides = None if image_size is None else parse_sides(image_size)
    from allmlp.checkpoints import load_for_size
    from allmlp.io.display import discard, escape

    report = note if is_first_process() else discard
    with download_bar() as report_progress:
        checkpoint = load_for_size(source, sides, report_progress=report_progress)
    if preprocessing:
        checkpoint = checkpoint.with_preprocessing(preprocessing)
    for remark in checkpoint.remarks:
        report(remark)
    if sides is None or sides == checkpoint.config.image_size:
        return checkpoint
    changed = checkpoint.at_resolution(sides)
    report(escape(changed.source.removeprefix(f"{checkpoint.source}; ")))
    for remark in changed.remarks[len(checkpoint.remarks) :]:  # what is dropped with the size
        report(remark)
    return changed


def load_for_export(source: str) -> "ArrayCheckpoint":
    """Load a checkpoint as arrays, without torch if possible; notes report what was assumed.

    Raises:
        CheckpointError: no usable checkpoint at `source`.
    """
    from allmlp.checkpoints import load_arrays

    with download_bar() as report_progress:
        checkpoint = load_arrays(source, report_progress=report_progress)
    for remark in checkpoint.remarks:
        note(remark)
    return checkpoint


def check_export_size(image_size: str | None, description: "ModelDescription") -> None:
    """Check that an image size is that of an export, if it is given.

    Raises:
        ConfigError: it is another one, or not an image size.
    """
    height, width = description.config.image_size
    if image_size is not None and parse_sides(image_size) != (height, width):
        raise ConfigError(
            f"--image-size {image_size}: an export has one image size, here {height} × {width}. Export the checkpoint at "
            "another size: allmlp export CHECKPOINT --image-size N."
        )


class LoadedSource(NamedTuple):
    """A checkpoint that was loaded, or the path of an export, and what its description is changed by when it is opened."""

    model: Any  # also a checkpoint as arrays, for the backends that take those
    changes: dict[str, Any] | None
    image_size: str | None


def load_source(
    source: str, image_size: str | None, preprocessing: dict[str, Any], backend: BackendName = "auto"
) -> LoadedSource:
    """Load a checkpoint at once, without torch where the backend needs none; an export is loaded when it is opened.

    Raises:
        CheckpointError: no usable checkpoint at `source`.
        ConfigError: an invalid image size or pre-processing.
    """
    from allmlp.exports import export_kind

    if export_kind(source) is not None:
        return LoadedSource(source, preprocessing or None, image_size)
    is_light = backend in _WITHOUT_TORCH and image_size is None and not preprocessing
    model = load_for_export(source) if is_light else load(source, image_size, preprocessing)
    return LoadedSource(model, None, image_size)


def open_source(
    source: LoadedSource, device: str, output: "Output", *, backend: BackendName, precision: str = "auto"
) -> "RunnableModel":
    """Make a model runnable.

    Raises:
        CheckpointError, ConfigError, MissingExtraError: as `open_model`.
    """
    from allmlp.inference import open_model

    model = open_model(
        source.model,
        backend=backend,
        device=device,
        precision=precision,
        output=output,
        preprocessing=source.changes,
    )
    if model.remark and is_first_process():
        note(model.remark)
    if isinstance(source.model, str):
        check_export_size(source.image_size, model.description)
    return model


def model_opener(
    source: str, image_size: str | None, preprocessing: dict[str, Any], backend: BackendName, precision: str = "auto"
) -> "Callable[[str, Output], RunnableModel]":
    """Return a function that opens a model with a device and an output. A checkpoint is loaded at once, an export by it.

    Raises:
        CheckpointError: no usable checkpoint at `source`.
        ConfigError: an invalid image size or pre-processing.
    """
    loaded = load_source(source, image_size, preprocessing, backend)
    return partial(open_source, loaded, backend=backend, precision=precision)


def option_words(
    image_size: str | None,
    preprocessing: dict[str, Any] | None = None,
    *,
    backend: str = "auto",
    precision: str = "auto",
) -> tuple[str, ...]:
    """Return the options as the user gave them, for a printed command that uses the Mixer in the same way."""
    words = [] if image_size is None else ["--image-size", image_size]
    words += [] if backend == "auto" else ["--backend", backend]
    words += [] if precision == "auto" else ["--precision", precision]
    for name, value in (preprocessing or {}).items():
        words += [
            f"--{name}",
            value if isinstance(value, str) else ",".join(str(number).removesuffix(".0") for number in value),
        ]
    return tuple(words)


def _parse_colour(text: str, *, option: str) -> tuple[float, float, float]:
    """Parse "0.485,0.456,0.406", or "0.5" for all three channels.

    Raises:
        ConfigError: any other text.
    """
    try:
        numbers = [float(word) for word in text.split(",")]
    except ValueError:
        numbers = []
    if len(numbers) not in (1, 3):
        raise ConfigError(f"{option} {text[:100]!r}: expected three numbers for R, G and B, such as 0.485,0.456,0.406.")
    return (numbers[0], numbers[len(numbers) // 2], numbers[-1])


def parse_sides(text: str) -> tuple[int, int]:
    """Parse "64" or "64x96" into (height, width).

    Raises:
        ConfigError: any other text.
    """
    sides = re.fullmatch(r"([0-9]{1,9})(?:[x×]([0-9]{1,9}))?", text.strip().lower())
    if sides is None:
        raise ConfigError(f"--image-size {text[:100]!r}: expected pixels such as 64, or HxW such as 64x96.")
    return int(sides[1]), int(sides[2] or sides[1])
