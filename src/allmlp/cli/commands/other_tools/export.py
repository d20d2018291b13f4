"""The command `allmlp export`."""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

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
    load_for_export,
    option_words,
)
from allmlp.cli.arguments.int8_options import Int8Options, check_int8_options
from allmlp.cli.arguments.output_format import Format, FormatOption
from allmlp.cli.arguments.output_path import new_output_path
from allmlp.cli.console import next_commands, note, say
from allmlp.cli.outputs.export_lines import next_rows, verification_lines, written_line
from allmlp.cli.outputs.int8_attempts import print_attempts
from allmlp.cli.progress import photo_bar
from allmlp.errors import AllmlpError, CheckFailedError, ConfigError
from allmlp.io.display import escape
from allmlp.io.json_object import json_text

if TYPE_CHECKING:
    from allmlp.checkpoints import ArrayCheckpoint, Checkpoint
    from allmlp.evaluation import ExportVerification

__all__ = ["ExportTarget", "export"]

ExportTarget = Literal["onnx", "openvino", "torch", "litert", "web"]
"""The keys of `EXPORT_FORMATS`, whose import here would load NumPy."""

PixelPlace = Literal["out", "in", "exact"]
"""`PIXELS`, whose import here would load NumPy."""


def export(
    checkpoint: CheckpointArgument,
    to: Annotated[
        ExportTarget | None,
        typer.Option(
            "--to",
            help="onnx: one .onnx file. openvino: an .xml and a .bin file. torch: a .pt2 file, for torch.export.load. "
            "litert: a .tflite file, for phones and small computers. web: a folder with a page that answers in the browser.",
            show_default="onnx",
        ),
    ] = None,
    out: Annotated[
        str | None,
        typer.Option(
            "-o",
            "--out",
            metavar="FILE",
            help="A new file; with --to web, a new folder.",
            show_default="the checkpoint's name, in this folder",
        ),
    ] = None,
    pixels: Annotated[
        PixelPlace | None,
        typer.Option(
            help="out: the input is pre-processed images. in: photos of any size, uint8, which the graph resizes. exact: the "
            "same, bit for bit as allmlp does it, but slower.",
            show_default="out; in with --to web",
        ),
    ] = None,
    runtime: Annotated[
        str | None,
        typer.Option(
            metavar="PACKAGE",
            help="With --to web: the npm package onnxruntime-web, a folder or a .tgz file.",
            show_default="node_modules/onnxruntime-web",
        ),
    ] = None,
    requirements: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            help="Write a new requirements file for pip, of what runs the export without PyTorch.",
            show_default=False,
        ),
    ] = None,
    verify: Annotated[
        str | None,
        typer.Option(
            metavar="PHOTOS",
            help="Compare the export with the checkpoint on photos, labelled or not; exit with 6 if an answer differs.",
            show_default=False,
        ),
    ] = None,
    against: Annotated[
        str | None,
        typer.Option(
            metavar="EXPORT", help="With --verify: compare this existing export, and write none.", show_default=False
        ),
    ] = None,
    tolerance: Annotated[
        float | None,
        typer.Option(
            metavar="T",
            help="With --verify: the largest difference of a logit, as a fraction of the largest logit.",
            show_default="1e-4; 1e-2 with --pixels in",
        ),
    ] = None,
    precision: Annotated[
        str,
        typer.Option(
            metavar="float32|bfloat16|int8",
            help="Of weights and products. bfloat16: --to torch only. int8: onnx, openvino and web, with --calibrate.",
        ),
    ] = "float32",
    calibrate: Annotated[
        str | None,
        typer.Option(
            metavar="PHOTOS",
            help="With int8: some hundreds of photos such as the model is for. A part sets the ranges of the layers, the "
            "others measure how many keep their class.",
            show_default=False,
        ),
    ] = None,
    agreement: Annotated[
        float | None,
        typer.Option(
            metavar="SHARE",
            help="With int8, and with --verify in bfloat16: the share of photos that must keep their class; exit with 6 if "
            "fewer do.",
            show_default="0.99; 0.997 in bfloat16",
        ),
    ] = None,
    portable: Annotated[
        bool | None,
        typer.Option(
            "--portable/--no-portable",
            help="With int8: weights of 7 bits, for any processor, or of 8 bits, which need VNNI.",
            show_default="portable",
        ),
    ] = None,
    image_size: ImageSizeOption = None,
    mean: MeanOption = None,
    std: StdOption = None,
    interpolation: InterpolationOption = None,
    fit: FitOption = None,
    law: LawOption = None,
    output_format: FormatOption = Format.TEXT,
) -> None:
    """Write a checkpoint for other engines. The file has its class names and pre-processing inside.

    \b
    Examples:
      allmlp export runs/mine --out mine.onnx --verify PHOTOS
      allmlp export runs/mine --against mine.onnx --verify PHOTOS
      allmlp export runs/mine --out mine.onnx --requirements requirements.txt
      allmlp export runs/mine --precision int8 --calibrate PHOTOS
      allmlp export runs/mine --to web --out page
      allmlp predict mine.onnx photo.jpg
    """
    written = {
        "--to": to,
        "--out": out,
        "--pixels": pixels,
        "--runtime": runtime,
        "--requirements": requirements,
        "--precision": None if precision == "float32" else precision,
        "--calibrate": calibrate,
        "--portable": portable,
    }
    _check_options(written, verify, against, tolerance, precision)
    _check_agreement(agreement, verify, precision)
    target = to or "onnx"
    of_int8 = None if precision == "bfloat16" else agreement  # in bfloat16, only the verification asks for an agreement
    int8 = Int8Options(precision=precision, calibrate=calibrate, agreement=of_int8, portable=portable)
    if against is None:
        check_int8_options(int8, target)
    listed = _requirements_path(requirements, target)
    changes = changed_preprocessing(mean, std, interpolation, fit, law)
    from allmlp.exports import (
        ENGINES,
        EXPORT_FORMATS,
        PAGE_MODEL,
        check_runtime_option,
        default_name,
        read_browser_runtime,
        requirements_in_checkout,
        write_requirements,
    )
    from allmlp.quantisation import write_export

    result: dict[str, Any] = {"checkpoint": checkpoint}
    is_json = output_format is Format.JSON
    model: Checkpoint | ArrayCheckpoint
    page: Path | None = None
    if against is None:
        form = EXPORT_FORMATS[target]
        place = pixels or form.pixels[0]
        check_runtime_option(runtime, target, dash="--")
        name = default_name(checkpoint, form) if out is None else out
        path = new_output_path(name, is_folder=form.is_page, name="--out", example=default_name(checkpoint, form))
        for ending in form.other_endings:
            new_output_path(str(path.with_suffix(ending)), is_folder=False, name="--out", example=name)
        if listed == path:
            raise ConfigError(f"--requirements and --out are the same file, {path}; give them two names.")
        file, page = (path / PAGE_MODEL, path) if form.is_page else (path, None)
        browser = read_browser_runtime(runtime) if form.is_page else None
        is_light = precision != "int8" and verify is None and image_size is None and not changes
        model = load_for_export(checkpoint) if is_light else load(checkpoint, image_size, changes)
        if verify is not None:
            from allmlp.evaluation import check_verifiable

            check_verifiable(model.description, file, verify, pixels=place)
        with photo_bar() as progress:
            done = write_export(
                model,
                to=target,
                out=path,
                pixels=place,
                runtime=browser,
                report=note,
                progress=progress,
                **asdict(int8),
            )
        if done.int8 is not None:
            attempts = done.int8.judged
            result["int8"] = {"attempts": [each.to_dict() for each in attempts], "note": asdict(done.int8.note)}
            if not is_json:
                print_attempts(attempts)
        if listed is not None:
            write_requirements(target, listed)
            result["requirements"] = str(listed)
        files = [path, *map(path.with_suffix, form.other_endings)]
        size = sum(each.stat().st_size for each in (files if page is None else page.iterdir()))
        result |= {"export": str(path), "to": target, "bytes": size}
        if browser is not None and browser.remark:
            note(browser.remark)
        if not is_json:
            say(written_line(files, size, model.description.config, precision, place))
            if listed is not None:
                say(f"Wrote {escape(listed)}: what runs it without PyTorch, for pip")
    else:
        path = file = Path(against)
        model = load(checkpoint, image_size, changes)
        result["export"] = against
    problems: tuple[str, ...] = ()
    if verify is not None:
        verification = _verify(file, model, verify, tolerance, agreement, is_new=against is None)
        problems = verification.problems
        result["verification"] = verification.to_dict()
        if not is_json:
            say("\n".join(verification_lines(verification)))
    if is_json:
        print(json_text(result, indent=2, allow_nan=False))
    if problems:
        kept = (
            "" if against is not None else f" The {'file' if page is None else 'folder'} {path} stays; do not use it."
        )
        raise CheckFailedError(f"{path} does not answer as the checkpoint: {' '.join(problems)}{kept}")
    if not is_json:
        has_classes = bool(model.description.class_names)
        words = (checkpoint, *option_words(image_size, changes))
        is_verified = verify is not None
        small = None if listed is None else str(listed)
        if listed is None and against is None and target in ENGINES:
            small = f"/path/to/allmlp/{requirements_in_checkout(target)}"
        next_commands(next_rows(words, file, small, page=page, has_classes=has_classes, is_verified=is_verified))


def _check_options(
    written: Mapping[str, object], verify: str | None, against: str | None, tolerance: float | None, precision: str
) -> None:
    if against is not None:
        if verify is None:
            raise ConfigError("--against compares an existing export with the checkpoint; add --verify PHOTOS.")
        if unused := [name for name, value in written.items() if value is not None]:
            raise ConfigError(f"{' and '.join(unused)} with --against would have no effect: nothing is written.")
    if tolerance is not None and precision in ("int8", "bfloat16"):
        raise ConfigError(f"--tolerance is for float32: logits in {precision} differ by design; give --agreement.")
    if tolerance is not None and verify is None:
        raise ConfigError("--tolerance without --verify would have no effect; add --verify PHOTOS, or omit it.")
    if tolerance is not None and not 0.0 <= tolerance <= 1.0:
        raise ConfigError(f"--tolerance is {tolerance}; expected a fraction of the largest logit, such as 1e-4.")


def _check_agreement(agreement: float | None, verify: str | None, precision: str) -> None:
    if agreement is not None and not 0.0 <= agreement <= 1.0:
        raise ConfigError(f"--agreement is {agreement}; expected a share of the photos, such as 0.99.")
    if agreement is not None and precision == "bfloat16" and verify is None:
        raise ConfigError(
            "--agreement without --verify would have no effect in bfloat16; add --verify PHOTOS, or omit it."
        )


def _requirements_path(requirements: str | None, target: ExportTarget) -> Path | None:
    if requirements is None:
        return None
    if target in ("torch", "web"):
        where = "a .pt2 file runs in PyTorch" if target == "torch" else "a page runs in a browser"
        raise ConfigError(f"--requirements lists what runs an export without PyTorch, and {where}. Omit it.")
    return new_output_path(requirements, is_folder=False, name="--requirements", example="requirements.txt")


def _verify(
    path: Path, model: Any, photos: str, tolerance: float | None, agreement: float | None, *, is_new: bool
) -> "ExportVerification":
    from allmlp.evaluation import verify_export

    try:
        with photo_bar() as progress:
            return verify_export(path, model, photos, tolerance=tolerance, agreement=agreement, progress=progress)
    except AllmlpError:
        if is_new:
            note(f"{escape(path)} stays, but it was not verified.")
        raise
