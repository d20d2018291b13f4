"""The command `allmlp inspect`."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from allmlp.cli.arguments.checkpoint import (
    FitOption,
    ImageSizeOption,
    InterpolationOption,
    LawOption,
    MeanOption,
    ModelArgument,
    StdOption,
    changed_preprocessing,
    check_export_size,
    load,
    option_words,
    parse_sides,
)
from allmlp.cli.arguments.output_format import Format, FormatOption
from allmlp.cli.console import aligned, command_line, heading, next_commands, say
from allmlp.cli.outputs.weight_plot import PlotOption, check_plot, plot_weights, print_weights
from allmlp.io.display import counted, escape, file_size
from allmlp.io.json_object import json_text

if TYPE_CHECKING:
    from allmlp.checkpoints import Checkpoint, ModelDescription, UnknownRule

__all__ = ["inspect"]

_MAX_NAMES = 20


def inspect(
    checkpoint: ModelArgument,
    image_size: ImageSizeOption = None,
    plot: PlotOption = None,
    output_format: FormatOption = Format.TEXT,
    mean: MeanOption = None,
    std: StdOption = None,
    interpolation: InterpolationOption = None,
    fit: FitOption = None,
    law: LawOption = None,
) -> None:
    """Describe a checkpoint, an export, or a variant such as B/16.

    Shows its size, its speed here, and the cost of each part.

    \b
    Examples:
      allmlp inspect runs/mine
      allmlp inspect B/16 --image-size 256x320
      allmlp inspect runs/mine --plot weights.png
    """
    from allmlp.exports import export_kind
    from allmlp.model import VARIANTS, variant_config

    changes = changed_preprocessing(mean, std, interpolation, fit, law)
    is_variant = checkpoint in VARIANTS and not Path(checkpoint).exists()
    is_export = not is_variant and export_kind(checkpoint) is not None
    if plot is not None:
        check_plot(plot, checkpoint, is_variant=is_variant, is_export=is_export)
    if is_variant:
        size = {} if image_size is None else {"image_size": parse_sides(image_size)}
        facts = _facts(variant_config(checkpoint, **size))
        facts["source"] = f"variant {checkpoint} of the paper's table 1, without weights"
    elif is_export:
        facts = _export_facts(checkpoint, image_size, changes)
    else:
        loaded = load(checkpoint, image_size, changes)
        facts = {**_facts(loaded.config), **_use(loaded.description, loaded.remarks), "speed": _speed(loaded)}
        if plot is not None:
            facts["weights"] = plot_weights(loaded, plot)
    if output_format is Format.JSON:
        print(json_text(facts, indent=2))
        return
    _print(facts)
    if "class_names" in facts:
        next_commands(_next((checkpoint, *option_words(image_size, changes)), has_classes=bool(facts["class_names"])))
    else:
        next_commands([(command_line("recipes"), "list the recipes that train a Mixer")])


def _next(words: tuple[str, ...], *, has_classes: bool) -> list[tuple[str, str]]:
    if not has_classes:
        return [(f"{command_line('embed', *words)} PHOTOS -o features.npz", "compute the features of photos")]
    return [
        (f"{command_line('predict', *words)} PHOTO.jpg", "classify photos or whole folders"),
        (f"{command_line('evaluate', *words)} PHOTOS", "PHOTOS: a folder with one sub-folder per class"),
    ]


def _export_facts(path: str, image_size: str | None, changes: dict[str, Any]) -> dict[str, Any]:
    from allmlp.config import to_dict
    from allmlp.exports import open_export

    info = open_export(path).info
    check_export_size(image_size, info.description)
    description = info.description.with_preprocessing(changes)
    export: dict[str, Any] = {
        "precision": info.precision,
        "pixels": info.pixels,
        "weights_sha256": info.weights_sha256,
    }
    if info.quantisation is not None:
        export |= to_dict(info.quantisation)
    return {**_facts(description.config), **_use(description, ()), "export": export}


def _speed(checkpoint: "Checkpoint") -> dict[str, Any]:
    from dataclasses import asdict

    from allmlp.inference import measure_speed

    return asdict(measure_speed(checkpoint))


def _facts(config: Any) -> dict[str, Any]:
    from allmlp.config import to_dict
    from allmlp.model import cost, num_multiply_adds, num_parameters

    return {
        "model": to_dict(config),
        "num_tokens": config.num_tokens,
        "parameters": num_parameters(config),
        "float32_bytes": 4 * num_parameters(config),
        # 2 floating-point operations per multiply-add; only matrix products, as is usual in the field.
        "gflops": 2e-9 * num_multiply_adds(config),
        "parts": [
            {"part": part.part, "parameters": part.parameters, "gflops": 2e-9 * part.multiply_adds}
            for part in cost(config)
        ],
    }


def _use(description: "ModelDescription", remarks: Sequence[str]) -> dict[str, Any]:
    from allmlp.config import to_dict

    return {
        "preprocessing": to_dict(description.preprocessing),
        "temperature": description.temperature,
        "unknown": _unknown_facts(description.unknown),
        "class_names": list(description.class_names),
        "source": description.source,
        "remarks": list(remarks),
    }


def _unknown_facts(rule: "UnknownRule | None") -> dict[str, Any] | None:
    """Return the threshold of "unknown" without the statistics of features, which say nothing to people."""
    return None if rule is None else {name: value for name, value in vars(rule).items() if name != "statistics"}


def _print(facts: dict[str, Any]) -> None:
    heading(escape(facts["source"]))
    for title in ("model", "preprocessing", "export"):
        if title in facts:
            say()
            heading(title)
            for line in aligned([(f"  {key}", _shown(value)) for key, value in facts[title].items()]):
                say(line)
    if facts.get("temperature", 1.0) != 1.0:
        say()
        heading("temperature")
        say(f"  {facts['temperature']:.4g}: probabilities are the softmax of logits / temperature")
    if rule := facts.get("unknown"):
        say()
        heading("unknown")
        say(
            f"  photos with a {rule['score']} below {rule['threshold']:.4g}: fitted on {rule['num_photos']:,} photos of its "
            f"classes, of which {rule['kept']:.0%} reach it"
        )
    say()
    for line in _size_and_speed(facts):
        say(line)
    say()
    rows = [(f"  {part['part']}", f"{part['parameters']:,}", f"{part['gflops']:.3g}") for part in facts["parts"]]
    total = ("  all", f"{facts['parameters']:,}", f"{facts['gflops']:.3g}")
    lines = aligned([("part", "parameters", "GFLOPs per image"), *rows, total], right=(1, 2))
    heading(lines[0])
    say("\n".join(lines[1:]))
    if "weights" in facts:
        print_weights(facts["weights"])
    if "class_names" in facts:
        names = facts["class_names"]
        shown = ", ".join(escape(name) for name in names[:_MAX_NAMES])
        rest = f" and {len(names) - _MAX_NAMES:,} more (--format json lists all)" if len(names) > _MAX_NAMES else ""
        say()
        heading("1 class" if len(names) == 1 else f"{len(names):,} classes" if names else "no classes, only features")
        if names:
            say(f"  {shown}{rest}")


def _size_and_speed(facts: dict[str, Any]) -> list[str]:
    rows = [("size", f"{file_size(facts['float32_bytes'])} in float32")]
    if speed := facts.get("speed"):
        batches = f"{speed['num_batches']} batches of {speed['batch_size']}"
        threads = f", {counted(speed['num_threads'], 'thread')}" if speed["device"] == "cpu" else ""
        where = f"{speed['device']}{threads}, float32, without decoding; median of {batches}"
        rows.append(("speed", f"{speed['milliseconds']:.3g} ms per photo on this machine ({where})"))
    return aligned(rows)


def _shown(value: Any) -> str:
    return " × ".join(map(str, value)) if isinstance(value, list) and len(value) == 2 else str(value)
