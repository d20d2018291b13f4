"""The command `allmlp bench`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from allmlp.cli.arguments.checkpoint import ImageSizeOption, load, option_words, parse_sides
from allmlp.cli.arguments.output_format import Format, FormatOption
from allmlp.cli.arguments.output_path import new_output_path
from allmlp.cli.console import aligned, command_line, heading, next_commands, note, say
from allmlp.errors import ConfigError
from allmlp.io.json_object import json_text

if TYPE_CHECKING:
    from allmlp.checkpoints import Checkpoint

__all__ = ["bench"]

_QUICK_MINUTES, _QUICK_ROUNDS = 0.5, 3


def bench(
    checkpoint: Annotated[
        str,
        typer.Argument(
            metavar="[CHECKPOINT|VARIANT]",
            help="A checkpoint, as predict takes it, or a variant such as B/16, whose weights are then random.",
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
            metavar="float32,bfloat16", help="The precisions.", show_default="those that the processor computes in"
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
        "--minutes": minutes,
        "--quick": quick or None,
        "--out": out,
    }
    _check_mode(
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
    sizes = _sizes(usual if batch_sizes is None else batch_sizes)
    if training and len(sizes) > 1:
        raise ConfigError(f"--batch-sizes {batch_sizes}: --training measures one batch size, such as --batch-sizes 32.")
    options = BenchOptions(
        batch_sizes=sizes,
        precisions=_names("--precision", precision),
        backends=_names("--backend", backend) or (_uncompiled() if quick else None),
        against=_names("--against", against) or (),
        minutes=_QUICK_MINUTES if quick else (3.0 if minutes is None else minutes),
        start_up=not quick,
        **({"num_rounds": _QUICK_ROUNDS} if quick else {}),
    )
    model, source = _model(checkpoint, image_size)
    arguments = [checkpoint, *option_words(image_size)]
    if tune:
        _tune(arguments, model, output_format)
    else:
        _measure(arguments, model, source, options, folder, is_training=training, photos=photos, form=output_format)


# What each of the other uses takes no notice of.
_UNUSED = {
    "--tune": ("--against", "--backend", "--batch-sizes", "--precision", "--minutes", "--quick", "--out"),
    "--training": ("--against", "--backend"),
    "--input": ("--against", "--backend", "--batch-sizes", "--precision"),
}


def _check_mode(modes: list[str], given: list[str]) -> None:
    """Check that one thing is measured, and that no option is given that this would ignore.

    Raises:
        ConfigError: otherwise.
    """
    if len(modes) > 1:
        raise ConfigError(f"{' and '.join(modes)} measure different things; give one of them.")
    if modes and (unused := [name for name in given if name in _UNUSED[modes[0]]]):
        raise ConfigError(f"{' and '.join(unused)} with {modes[0]} would have no effect; omit it.")
    if "--quick" in given and "--minutes" in given:
        raise ConfigError("--quick and --minutes both limit the time; give one of them.")


def _measure(
    arguments: list[str],
    model: "Checkpoint",
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
        result = measure_input(split, model.preprocessing, **limits)
    elif is_training:
        precisions = options.precisions or ("float32",)
        result = measure_training(model.config, batch_size=options.batch_sizes[-1], precisions=precisions, **limits)
    else:
        result = measure(model, options, source=source, report=note)
    is_json = form is Format.JSON
    if is_json:
        print(json_text(result, indent=2, allow_nan=False))
    else:
        _print(table_lines(result), result.get("left_out", {}))
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


def _tune(arguments: list[str], model: "Checkpoint", form: Format) -> None:
    from allmlp.bench import tune as measure

    seconds, path = measure(model, report=note)
    if form is Format.JSON:
        print(json_text({"seconds_per_image": seconds, "remembered_in": str(path)}, indent=2, allow_nan=False))
        return
    lines = aligned([("backend", "ms per photo"), *((key, f"{1000 * value:.3g}") for key, value in seconds.items())])
    heading(lines[0])
    say("\n".join(lines[1:]))
    say(f"Remembered in {path}: --backend auto takes {next(iter(seconds))} for Mixers of this shape on this machine.")
    name, *size = arguments
    if _is_variant(name):  # which has no weights to predict with
        next_commands([(command_line("bench", *arguments), "measure every backend at several batch sizes")])
    elif not model.config.num_classes:
        next_commands([(f"{command_line('embed', name, *size)} PHOTOS -o features.npz", "write features with it")])
    else:
        next_commands([(f"{command_line('predict', name, *size)} PHOTOS", "classify photos with it")])


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


def _model(name: str, image_size: str | None) -> "tuple[Checkpoint, str | None]":
    """Return the Mixer, and where a fresh process finds the same one; None if it has random weights or another size."""
    if _is_variant(name):
        from allmlp.bench import random_checkpoint
        from allmlp.model import variant_config

        size = {} if image_size is None else {"image_size": parse_sides(image_size)}
        return random_checkpoint(variant_config(name, **size), source=f"{name} with random weights"), None
    from allmlp.exports import export_kind, open_export

    if export_kind(name) is not None:
        if open_export(name).info.precision == "int8":
            raise ConfigError(
                f"{name} is an int8 export, and bench compares no int8, nor does --tune choose its engine. To see what int8 "
                "gains, time `allmlp predict` with this file and with a float32 export, on the same photos."
            )
        raise ConfigError(f"{name} is an export; bench takes the checkpoint, which it runs in every engine.")
    return load(name, image_size), None if image_size else name


def _uncompiled() -> tuple[str, ...]:
    from allmlp.inference import BACKENDS

    return tuple(name for name in BACKENDS if name != "compiled")


def _names(option: str, text: str | None) -> tuple[str, ...] | None:
    """Return the names in the value of an option, each once; None if it is not given.

    Raises:
        ConfigError: there are none.
    """
    if text is None:
        return None
    if not (names := tuple(dict.fromkeys(_words(text)))):
        raise ConfigError(
            f"{option} {text[:100]!r} has no name in it: a shell variable may be unset. Omit it, or give names."
        )
    return names


def _words(text: str) -> tuple[str, ...]:
    return tuple(word.strip() for word in text.split(",") if word.strip())


def _sizes(text: str) -> tuple[int, ...]:
    words = _words(text)
    if not words or not all(word.isdecimal() and len(word) < 6 for word in words):
        raise ConfigError(f"--batch-sizes {text[:100]!r}: expected numbers such as 1,32.")
    return tuple(dict.fromkeys(map(int, words)))
