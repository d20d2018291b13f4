"""The command `allmlp convert`."""

import shlex
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from allmlp.cli.arguments.checkpoint import (
    CheckpointArgument,
    FitOption,
    ImageSizeOption,
    InterpolationOption,
    LawOption,
    MeanOption,
    StdOption,
    changed_preprocessing,
    load,
    option_words,
)
from allmlp.cli.arguments.output_path import new_output_path
from allmlp.cli.console import command_line, heading, next_commands, note, say
from allmlp.cli.outputs.format_losses import print_unsupported
from allmlp.errors import ConfigError

if TYPE_CHECKING:
    from allmlp.checkpoints import Checkpoint

__all__ = ["Target", "convert"]

_TO_OPTION = (
    "allmlp: a folder for this program. timm: a folder for timm and transformers. google: an .npz file with "
    "linen's names."
)

_Gelu = Literal["tanh", "erf"]  # allmlp.model's, whose import would slow the help of every command
Target = Literal["allmlp", "timm", "google"]
"""Output formats: the keys of `FORMATS`, whose import here would load NumPy."""


def convert(
    checkpoint: CheckpointArgument,
    destination: Annotated[
        str,
        typer.Argument(metavar="DST", help="The output: a new folder, or for google a new file.", show_default=False),
    ],
    target: Annotated[Target, typer.Option("--to", help=_TO_OPTION, show_default=False)],
    gelu: Annotated[
        _Gelu | None,
        typer.Option(
            help="Change the GELU to this form; timm supports only erf. --photos measures the effect.",
            show_default="the checkpoint's",
        ),
    ] = None,
    photos: Annotated[
        str | None,
        typer.Option(
            metavar="PHOTOS", help="Photos, labelled or not, to measure the effect of --gelu on.", show_default=False
        ),
    ] = None,
    unknown_from: Annotated[
        str | None,
        typer.Option(
            metavar="PHOTOS",
            help="Fit the threshold of 'unknown' on these photos of its classes, which it was not trained on.",
            show_default=False,
        ),
    ] = None,
    keep: Annotated[
        float | None,
        typer.Option(
            metavar="S", help="With --unknown-from: the share of them that is to stay known.", show_default="0.95"
        ),
    ] = None,
    image_size: ImageSizeOption = None,
    mean: MeanOption = None,
    std: StdOption = None,
    interpolation: InterpolationOption = None,
    fit: FitOption = None,
    law: LawOption = None,
) -> None:
    """Write a checkpoint for another tool. Weights stay identical, bit for bit; what the format cannot hold is reported.

    \b
    Examples:
      allmlp convert runs/mine for-timm --to timm
      allmlp convert runs/mine knows-unknown --to allmlp --unknown-from PHOTOS --keep 0.95
    """
    _check_options(target, gelu, photos)
    _check_unknown_options(target, unknown_from, keep)
    changes = changed_preprocessing(mean, std, interpolation, fit, law)
    from allmlp.checkpoints import FORMATS

    path = new_output_path(destination, is_folder=FORMATS[target].is_folder, name="DST", example="mixer.npz")
    loaded = load(checkpoint, image_size, changes)
    changed = loaded if gelu is None else _with_gelu(loaded, gelu)
    if unknown_from is not None:
        changed = _with_unknown(changed, unknown_from, checkpoint, keep)
    losses = FORMATS[target].lost(changed)  # raises if the checkpoint cannot be written: before anything slow
    if changed.config != loaded.config:
        options = option_words(image_size, changes)
        command = command_line("convert", checkpoint, "DST", "--to", target, "--gelu", changed.config.gelu, *options)
        _report_gelu(loaded, changed, photos, f"{command} --photos PHOTOS")
    print_unsupported(target, losses)
    written = FORMATS[target].save(changed, path)
    say(_summary(changed, written, target))
    next_commands(_uses(changed, written, target))


def _check_options(target: Target, gelu: _Gelu | None, photos: str | None) -> None:
    if photos is not None and gelu is None:
        raise ConfigError("--photos measures the effect of --gelu; add --gelu erf or --gelu tanh, or omit --photos.")
    if gelu is not None and target == "google":
        raise ConfigError("--gelu has no effect with --to google: an .npz file does not record the GELU. Omit --gelu.")


def _check_unknown_options(target: Target, unknown_from: str | None, keep: float | None) -> None:
    if unknown_from is not None and target != "allmlp":
        raise ConfigError(f"--unknown-from: only --to allmlp can hold the threshold of 'unknown', not {target}.")
    if keep is None:
        return
    if unknown_from is None:
        raise ConfigError(
            "--keep without --unknown-from would have no effect; add --unknown-from PHOTOS, or omit --keep."
        )
    if not 0 < keep <= 1:
        raise ConfigError(f"--keep is {keep}; expected a share over 0 and at most 1, such as 0.95.")


def _with_unknown(checkpoint: "Checkpoint", data: str, source: str, keep: float | None) -> "Checkpoint":
    from allmlp.cli.progress import photo_bar
    from allmlp.evaluation import KEPT_SHARE, fit_unknown, split_of_run

    run = source if split_of_run(source) else None
    with photo_bar() as progress:
        kept = KEPT_SHARE if keep is None else keep
        fitted = fit_unknown(checkpoint, data, kept=kept, run=run, report=say, progress=progress)
    rule = fitted.unknown
    assert rule is not None
    say(f"unknown: predict answers it for photos unlike {rule.kept:.0%} of {rule.num_photos:,} photos of the classes")
    return fitted


def _with_gelu(checkpoint: "Checkpoint", gelu: _Gelu) -> "Checkpoint":
    before = checkpoint.config.gelu
    if gelu == before:
        note(f"--gelu {gelu}: the model already uses this GELU; nothing changes.")
        return checkpoint
    return checkpoint.replace(
        config=replace(checkpoint.config, gelu=gelu),
        source=f"{checkpoint.source}; GELU changed from {before} to {gelu} by choice",
    )


def _report_gelu(before: "Checkpoint", after: "Checkpoint", photos: str | None, command: str) -> None:
    from allmlp.cli.outputs.gelu_change import measure_gelu

    lines = [f"Every logit changes slightly; the change was not measured. To measure it: {command}"]
    if photos is not None:
        lines = measure_gelu(before, after, photos)
    heading(f"GELU changed from {before.config.gelu} to {after.config.gelu}")
    say("\n".join(f"  {line}" for line in lines))


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
            (command_line("inspect", path), "describe it"),
            (f"{command_line('predict', path)} PHOTO.jpg", "classify photos or whole folders"),
        ]
    if target == "google":
        height, width = checkpoint.config.image_size
        size = [] if height == width else ["--image-size", f"{height}x{width}"]  # not recorded in an .npz file
        code = f"import numpy; print(numpy.load({str(path)!r}).files)"
        return [(_python(code), "list its arrays"), (command_line("inspect", path, *size), "describe it")]
    code = f"import timm; print(timm.create_model({'local-dir:' + str(path)!r}, pretrained=True))"
    rows = [(_python(code), "load it in timm")]
    if checkpoint.config.num_classes:
        code = f"from transformers import pipeline; print(pipeline('image-classification', {str(path)!r})('PHOTO.jpg'))"
        rows.append((_python(code), "use it in transformers"))
    return rows


def _python(code: str) -> str:
    # Readable if possible: within double quotes, a shell interprets only these characters.
    return shlex.join(["python", "-c", code]) if set(code) & set('"$`\\!') else f'python -c "{code}"'
