"""The command `allmlp bench`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from allmlp.cli.arguments.checkpoint import ImageSizeOption, load, parse_sides
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
    batch_sizes: Annotated[str, typer.Option(metavar="N,N,...", help="Images per call.")] = "1,32",
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
    if chosen := [name for name, value in (("--tune", tune), ("--training", training), ("--input", photos)) if value]:
        if len(chosen) > 1:
            raise ConfigError(f"{' and '.join(chosen)} measure different things; give one of them.")
        if unused := [name for name, value in (("--against", against), ("--backend", backend)) if value]:
            raise ConfigError(f"{' and '.join(unused)} with {chosen[0]} would have no effect; omit it.")
    if quick and minutes is not None:
        raise ConfigError("--quick and --minutes both limit the time; give one of them.")
    folder = None if out is None else new_output_path(out, is_folder=True, name="--out", example="bench")
    if tune and folder is not None:
        raise ConfigError("--tune remembers its result in the cache folder and writes nothing to --out; omit --out.")
    from allmlp.bench import BenchOptions

    options = BenchOptions(
        batch_sizes=_sizes(batch_sizes),
        precisions=None if precision is None else _words(precision),
        backends=_words(backend) if backend else (_uncompiled() if quick else None),
        against=() if against is None else _words(against),
        minutes=_QUICK_MINUTES if quick else (3.0 if minutes is None else minutes),
        start_up=not quick,
        **({"num_rounds": _QUICK_ROUNDS} if quick else {}),
    )
    model, source = _model(checkpoint, image_size)
    if tune:
        _tune(checkpoint, model)
    else:
        _measure(checkpoint, model, source, options, folder, is_training=training, photos=photos, form=output_format)


def _measure(
    name: str,
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
        next_commands(_next(name, is_whole="results" in result))


def _print(rows: list[tuple[str, ...]], left_out: dict[str, str]) -> None:
    lines = aligned(rows)
    heading(lines[0])
    say("\n".join(lines[1:]))
    if left_out:
        say()
        heading("Left out")
        for name, why in left_out.items():
            say(f"  {name}: {why}")


def _tune(name: str, model: "Checkpoint") -> None:
    from allmlp.bench import tune as measure

    seconds, path = measure(model, report=note)
    lines = aligned([("backend", "ms per photo"), *((key, f"{1000 * value:.3g}") for key, value in seconds.items())])
    heading(lines[0])
    say("\n".join(lines[1:]))
    say(f"Remembered in {path}: --backend auto takes {next(iter(seconds))} for Mixers of this shape on this machine.")
    next_commands([(f"{command_line('predict', name)} PHOTOS", "classify photos with it")])


def _next(name: str, *, is_whole: bool) -> list[tuple[str, str]]:
    tuned = (command_line("bench", name, "--tune"), "let --backend auto take the fastest backend")
    everything = (
        command_line("bench", name, "--against", "all", "--minutes", "10", "--out", "bench"),
        "compare with other implementations",
    )
    return [tuned, everything] if is_whole else [everything]


def _model(name: str, image_size: str | None) -> "tuple[Checkpoint, str | None]":
    """Return the Mixer, and where a fresh process finds the same one; None if it has random weights or another size."""
    from allmlp.model import VARIANTS, variant_config

    if name in VARIANTS and not Path(name).exists():
        from allmlp.bench import random_checkpoint

        size = {} if image_size is None else {"image_size": parse_sides(image_size)}
        return random_checkpoint(variant_config(name, **size), source=f"{name} with random weights"), None
    from allmlp.exports import export_kind

    if export_kind(name) is not None:
        raise ConfigError(f"{name} is an export; bench takes the checkpoint, which it runs in every engine.")
    return load(name, image_size), None if image_size else name


def _uncompiled() -> tuple[str, ...]:
    from allmlp.inference import BACKENDS

    return tuple(name for name in BACKENDS if name != "compiled")


def _words(text: str) -> tuple[str, ...]:
    return tuple(word.strip() for word in text.split(",") if word.strip())


def _sizes(text: str) -> tuple[int, ...]:
    words = _words(text)
    if not words or not all(word.isdecimal() and len(word) < 6 for word in words):
        raise ConfigError(f"--batch-sizes {text[:100]!r}: expected numbers such as 1,32.")
    return tuple(map(int, words))
