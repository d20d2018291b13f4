"""The command `allmlp bench`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from allmlp.cli.arguments.bench_options import check_mode, names_in, sizes_in
from allmlp.cli.arguments.checkpoint import ImageSizeOption, load, option_words, parse_sides
from allmlp.cli.arguments.output_format import Format, FormatOption
from allmlp.cli.arguments.output_path import new_output_path
from allmlp.cli.console import aligned, command_line, heading, next_commands, note, say
from allmlp.errors import ConfigError
from allmlp.io.json_object import json_text

if TYPE_CHECKING:
    from allmlp.checkpoints import Checkpoint, ModelDescription

__all__ = ["bench"]

_QUICK_MINUTES, _QUICK_ROUNDS = 0.5, 3


def bench(
    checkpoint: Annotated[
        str,
        typer.Argument(
            metavar="[CHECKPOINT|EXPORT|VARIANT]",
            help="A checkpoint, as predict takes it; an export, which runs in its own precision; or a variant such as B/16, "
            "whose weights are then random.",
        ),
    ] = "starter",
    against: Annotated[
        str | None,
        typer.Option(
            metavar="all|NAME,NAME",
            help="Other implementations to measure in the same rounds, as far as they are installed: all, or some of "
            "timm-eager, timm-compiled, timm-onnxruntime, timm-openvino, vit_jax.",
            show_default="none",
        ),
    ] = None,
    batch_sizes: Annotated[
        str | None,
        typer.Option(metavar="N,N,...", help="Images per call; with --training, per step.", show_default="1,32"),
    ] = None,
    precision: Annotated[
        str | None,
        typer.Option(
            metavar="float32,bfloat16,int8",
            help="The precisions. int8 is measured for its speed: allmlp export measures how often it agrees.",
            show_default="all, bfloat16 if the processor has it",
        ),
    ] = None,
    calibrate: Annotated[
        str | None,
        typer.Option(
            metavar="PHOTOS",
            help="Photos that set the ranges of int8.",
            show_default="clothing, which comes with allmlp",
        ),
    ] = None,
    backend: Annotated[
        str | None, typer.Option(metavar="NAME,NAME", help="The backends.", show_default="all that are installed")
    ] = None,
    minutes: Annotated[
        float | None,
        typer.Option(help="Begin nothing more after this time; what is left out is listed.", show_default="3"),
    ] = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="Half a minute: three rounds, no fresh processes, nothing compiled.")
    ] = False,
    tune: Annotated[
        bool,
        typer.Option(
            "--tune", help="Only find the fastest backend, in under a minute, and remember it for --backend auto."
        ),
    ] = False,
    training: Annotated[
        bool, typer.Option("--training", help="Measure training steps instead, against timm's.")
    ] = False,
    photos: Annotated[
        str | None,
        typer.Option(
            "--input",
            metavar="PHOTOS",
            help="Measure reading, decoding and augmenting these photos instead, in images per second and core.",
            show_default=False,
        ),
    ] = None,
    out: Annotated[
        str | None,
        typer.Option(
            "-o", "--out", metavar="FOLDER", help="Write bench.json, bench.md and bench.png here.", show_default=False
        ),
    ] = None,
    image_size: ImageSizeOption = None,
    output_format: FormatOption = Format.TEXT,
) -> None:
    """Measure the speed of a Mixer on this machine.

    Backends and other implementations take turns in rounds of one run. Nothing else should run meanwhile.

    \b
    Examples:
      allmlp bench --quick
      allmlp bench B/16 --against all --minutes 10 --out bench
      allmlp bench runs/mine --tune
    """
    given = {
        "--against": against,
        "--backend": backend,
        "--batch-sizes": batch_sizes,
        "--precision": precision,
        "--calibrate": calibrate,
        "--minutes": minutes,
        "--quick": quick or None,
        "--out": out,
    }
    check_mode(
        [
            name
            for name, value in (("--tune", tune), ("--training", training), ("--input", photos is not None))
            if value
        ],
        [name for name, value in given.items() if value is not None],
    )
    folder = None if out is None else new_output_path(out, is_folder=True, name="--out", example="bench")
    from allmlp.bench import BenchOptions

    usual = "32" if training else "1,32"
    sizes = sizes_in(usual if batch_sizes is None else batch_sizes)
    if training and len(sizes) > 1:
        raise ConfigError(f"--batch-sizes {batch_sizes}: --training measures one batch size, such as --batch-sizes 32.")
    options = BenchOptions(
        batch_sizes=sizes,
        precisions=names_in("--precision", precision),
        backends=names_in("--backend", backend) or (_uncompiled() if quick else None),
        against=names_in("--against", against) or (),
        calibrate=calibrate,
        minutes=_QUICK_MINUTES if quick else (3.0 if minutes is None else minutes),
        start_up=not quick,
        **({"num_rounds": _QUICK_ROUNDS} if quick else {}),
    )
    model, source = _model(checkpoint, image_size)
    if training and isinstance(model, Path):
        raise ConfigError(
            f"{checkpoint} is an export, which is not trained; --training takes the checkpoint or a variant."
        )
    if calibrate is not None and isinstance(model, Path):
        raise ConfigError(f"{checkpoint} is an export, whose ranges are fixed; omit --calibrate.")
    arguments = [checkpoint, *option_words(image_size)]
    if tune:
        _tune(arguments, model, output_format)
    else:
        _measure(arguments, model, source, options, folder, is_training=training, photos=photos, form=output_format)


def _measure(
    arguments: list[str],
    model: "Checkpoint | Path",
    source: str | None,
    options: Any,
    folder: Path | None,
    *,
    is_training: bool,
    photos: str | None,
    form: Format,
) -> None:
    from allmlp.bench import bench as measure
    from allmlp.bench import measure_input, measure_training, table_lines, text_table, write_plot
    from allmlp.io.atomic_write import write_json, write_text

    limits: dict[str, Any] = {"seconds": 60 * options.minutes, "num_rounds": options.num_rounds}
    result: Any
    if photos is not None:
        from allmlp.data import default_split, open_dataset

        splits = open_dataset(photos).splits
        split = splits["train" if "train" in splits else default_split(splits)]
        result = measure_input(split, _description(model).preprocessing, **limits)
    elif is_training:
        assert not isinstance(model, Path)
        precisions = options.precisions or ("float32",)
        result = measure_training(model.config, batch_size=options.batch_sizes[-1], precisions=precisions, **limits)
    else:
        result = measure(model, options, source=source, report=note)
    is_json = form is Format.JSON
    if is_json:
        print(json_text(result, indent=2, allow_nan=False))
    else:
        _print(table_lines(result), result.get("left_out", {}))
        if "int8" in result:
            say(f"int8: {result['int8']}")
    if folder is not None:
        written = [write_json(folder / "bench.json", result)]
        if "results" in result:
            written += [write_text(folder / "bench.md", text_table(result)), write_plot(result, folder / "bench.png")]
        (note if is_json else say)(f"Wrote {', '.join(map(str, written))}")
    if not is_json:
        next_commands(_next(arguments, is_whole="results" in result))


def _print(rows: list[tuple[str, ...]], left_out: dict[str, str]) -> None:
    lines = aligned(rows)
    heading(lines[0])
    say("\n".join(lines[1:]))
    if left_out:
        say()
        heading("Left out")
        for name, why in left_out.items():
            say(f"  {name}: {why}")


def _tune(arguments: list[str], model: "Checkpoint | Path", form: Format) -> None:
    from allmlp.bench import tune as measure

    seconds, path = measure(model, report=note)
    if form is Format.JSON:
        print(json_text({"seconds_per_image": seconds, "remembered_in": str(path)}, indent=2, allow_nan=False))
        return
    lines = aligned([("backend", "ms per photo"), *((key, f"{1000 * value:.3g}") for key, value in seconds.items())])
    heading(lines[0])
    say("\n".join(lines[1:]))
    of_what = _remembered_for(model)
    say(f"Remembered in {path}: --backend auto takes {next(iter(seconds))} for {of_what} on this machine.")
    name, *size = arguments
    if _is_variant(name):  # which has no weights to predict with
        next_commands([(command_line("bench", *arguments), "measure every backend at several batch sizes")])
    elif not _description(model).config.num_classes:
        next_commands([(f"{command_line('embed', name, *size)} PHOTOS -o features.npz", "write features with it")])
    else:
        next_commands([(f"{command_line('predict', name, *size)} PHOTOS", "classify photos with it")])


def _remembered_for(model: "Checkpoint | Path") -> str:
    from allmlp.exports import open_export

    if not isinstance(model, Path):
        return "Mixers of this shape"
    return "files such as this one" if open_export(model).info.quantisation is None else "this file"


def _next(arguments: list[str], *, is_whole: bool) -> list[tuple[str, str]]:
    tuned = (command_line("bench", *arguments, "--tune"), "let --backend auto take the fastest backend")
    everything = (
        command_line("bench", *arguments, "--against", "all", "--minutes", "10", "--out", "bench"),
        "compare with other implementations",
    )
    return [tuned, everything] if is_whole else [everything]


def _is_variant(name: str) -> bool:
    from allmlp.model import VARIANTS

    return name in VARIANTS and not Path(name).exists()


def _description(model: "Checkpoint | Path") -> "ModelDescription":
    from allmlp.exports import open_export

    return open_export(model).description if isinstance(model, Path) else model.description


def _model(name: str, image_size: str | None) -> "tuple[Checkpoint | Path, str | None]":
    """Return the Mixer or the file of an export, and where a fresh process finds it; None: random weights or another size."""
    if _is_variant(name):
        from allmlp.bench import random_checkpoint
        from allmlp.model import variant_config

        size = {} if image_size is None else {"image_size": parse_sides(image_size)}
        return random_checkpoint(variant_config(name, **size), source=f"{name} with random weights"), None
    from allmlp.exports import export_kind

    if export_kind(name) is not None:
        if image_size is not None:
            raise ConfigError(f"{name} is an export, whose image size is fixed; omit --image-size.")
        return Path(name), name
    return load(name, image_size), None if image_size else name


def _uncompiled() -> tuple[str, ...]:
    from allmlp.inference import BACKENDS

    return tuple(name for name in BACKENDS if name != "compiled")
