"""`allmlp convert`."""

import shlex
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from allmlp.cli.arguments.checkpoint import CheckpointArgument, ImageSizeOption, load
from allmlp.cli.arguments.output_path import new_output_path
from allmlp.cli.console import command_line, heading, next_commands, note
from allmlp.cli.unsupported import print_unsupported
from allmlp.errors import ConfigError
from allmlp.model import Gelu

if TYPE_CHECKING:
    from allmlp.checkpoints import Checkpoint

__all__ = ["Target", "convert"]

_TO_OPTION = (
    "allmlp: a folder for this program. timm: a folder for timm and transformers. google: an .npz in linen's names."
)


Target = Literal["allmlp", "timm", "google"]
"""What a checkpoint is written as: the keys of `FORMATS`, which would take NumPy to import here."""


def convert(
    checkpoint: CheckpointArgument,
    destination: Annotated[
        str,
        typer.Argument(metavar="DST", help="What to write: a new folder, for google a new file.", show_default=False),
    ],
    target: Annotated[Target, typer.Option("--to", help=_TO_OPTION, show_default=False)],
    gelu: Annotated[
        Gelu | None,
        typer.Option(
            help="Compute this GELU from now on; timm has erf only. With --photos, says what it changes.",
            show_default="as the model does",
        ),
    ] = None,
    image_size: ImageSizeOption = None,
    photos: Annotated[
        str | None,
        typer.Option(
            metavar="DATA", help="Photos, labelled or not, to measure the change of GELU on.", show_default=False
        ),
    ] = None,
) -> None:
    """Write a checkpoint for another tool. Weights keep their bits; says what the other form cannot hold."""
    _check_options(target, gelu, photos)
    from allmlp.checkpoints import FORMATS

    path = new_output_path(destination, is_folder=FORMATS[target].is_folder, name="DST", example="mixer.npz")
    loaded = load(checkpoint, image_size)
    changed = loaded if gelu is None else _with_gelu(loaded, gelu)
    losses = FORMATS[target].lost(changed)  # before anything slow: what cannot be written is found here
    if changed is not loaded:
        size = [] if image_size is None else ["--image-size", image_size]
        command = command_line("convert", checkpoint, "DST", "--to", target, "--gelu", changed.config.gelu, *size)
        _report_gelu(loaded, changed, photos, f"{command} --photos DATA")
    print_unsupported(target, losses)
    written = FORMATS[target].save(changed, path)
    print(_summary(changed, written, target))
    next_commands(_uses(changed, written, target))


def _check_options(target: Target, gelu: Gelu | None, photos: str | None) -> None:
    if photos is not None and gelu is None:
        raise ConfigError("--photos measures what --gelu changes; give --gelu erf or --gelu tanh, or omit --photos.")
    if gelu is not None and target == "google":
        raise ConfigError("--gelu has no effect on --to google: an .npz does not say which GELU it is for.")


def _with_gelu(checkpoint: "Checkpoint", gelu: Gelu) -> "Checkpoint":
    before = checkpoint.config.gelu
    if gelu == before:
        note(f"--gelu {gelu}: the model computes this GELU already; nothing changes.")
        return checkpoint
    return checkpoint.replace(
        config=replace(checkpoint.config, gelu=gelu),
        source=f"{checkpoint.source}; its GELU, which was {before}, is {gelu} by choice",
    )


def _report_gelu(before: "Checkpoint", after: "Checkpoint", photos: str | None, command: str) -> None:
    from allmlp.cli.gelu_change import measure_gelu

    lines = [f"Every logit changes a little; by how much is not measured. To measure it: {command}"]
    if photos is not None:
        lines = measure_gelu(before, after, photos)
    heading(f"GELU: {before.config.gelu} before, {after.config.gelu} from now on")
    print("\n".join(f"  {line}" for line in lines))


def _summary(checkpoint: "Checkpoint", path: Path, target: Target) -> str:
    from allmlp.io.display import escape

    files = sorted(path.iterdir()) if path.is_dir() else [path]
    num_bytes = sum(file.stat().st_size for file in files)
    widths = sorted({str(weight.dtype).removeprefix("torch.") for weight in checkpoint.weights.values()})
    names = f": {', '.join(file.name for file in files)}" if path.is_dir() else ""
    height, width = checkpoint.config.image_size
    gelu = "" if target == "google" else f", {checkpoint.config.gelu} GELU"
    return (
        f"Wrote {escape(path)} ({num_bytes / 1e6:,.1f} MB, {', '.join(widths)}, {checkpoint.config.num_classes:,} "
        f"classes, {height} × {width} pixels{gelu}){names}"
    )


def _uses(checkpoint: "Checkpoint", path: Path, target: Target) -> list[tuple[str, str]]:
    if target == "allmlp":
        return [
            (command_line("inspect", path), "what it is"),
            (f"{command_line('predict', path)} PHOTO.jpg", "name photos or whole folders of them"),
        ]
    if target == "google":
        height, width = checkpoint.config.image_size
        size = [] if height == width else ["--image-size", f"{height}x{width}"]  # which an .npz does not say
        code = f"import numpy; print(numpy.load({str(path)!r}).files)"
        return [(_python(code), "the arrays"), (command_line("inspect", path, *size), "what it is")]
    code = f"import timm; print(timm.create_model({'local-dir:' + str(path)!r}, pretrained=True))"
    rows = [(_python(code), "timm")]
    if checkpoint.config.num_classes:
        code = f"from transformers import pipeline; print(pipeline('image-classification', {str(path)!r})('PHOTO.jpg'))"
        rows.append((_python(code), "transformers"))
    return rows


def _python(code: str) -> str:
    # Readable where it can be: within double quotes a shell changes nothing but these.
    return shlex.join(["python", "-c", code]) if set(code) & set('"$`\\!') else f'python -c "{code}"'
