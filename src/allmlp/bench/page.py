"""The table of a bench, as aligned text and as Markdown."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

__all__ = ["table_lines", "text_table", "three_digits"]

_START = ("batch", "precision", "contestant", "images/s")
_COLUMNS = (*_START, "ms (median, min to max)", "GFLOP/s", "of matrix products", "speed-up", "x timm float32")
_START_UP_COLUMNS = ("fresh process", "seconds to the first answer", "processor seconds", "peak memory, MiB")
_TRAINING_COLUMNS = (*_START, "ms per step", "core-hours per million images", "speed-up")


def table_lines(result: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """Return the header and the rows of a result of `bench`, `measure_training` or `measure_input`."""
    rows: list[tuple[str, ...]]
    if "training" in result:
        rows = [_TRAINING_COLUMNS, *map(_training_row, result["training"])]
    elif "images_per_core_second" in result:
        rows = [("stage", "images per second and core", "min to max", "speed-up")]
        ratios = {name.split(" / ")[0]: ratio for name, ratio in result["speed_ratio"].items()}
        for stage, rate in result["images_per_core_second"].items():
            ratio = f"{ratios[stage]:.2f} x over timm" if stage in ratios else ""
            ends = f"{three_digits(rate['min'])} to {three_digits(rate['max'])}"
            rows.append((stage, three_digits(rate["median"]), ends, ratio))
    else:
        rows = [_COLUMNS, *map(_row, result["results"])]
    return rows


def _row(row: Mapping[str, Any]) -> tuple[str, ...]:
    times = row["milliseconds"]
    is_own_reference = row["reference"] == row["contestant"]
    return (
        str(row["batch_size"]),
        row["precision"],
        row["contestant"],
        three_digits(row["images_per_second"]),
        f"{three_digits(times['median'])} ({three_digits(times['min'])} to {three_digits(times['max'])})",
        three_digits(row["gflops"]),
        "" if row["share_of_matrix_product_rate"] is None else f"{row['share_of_matrix_product_rate']:.0%}",
        "" if is_own_reference else f"{row['speed_ratio']:.2f} x over {row['reference']}",
        f"{row['times_timm_eager_float32']:.2f}" if "times_timm_eager_float32" in row else "",
    )


def _training_row(row: Mapping[str, Any]) -> tuple[str, ...]:
    return (
        str(row["batch_size"]),
        row["precision"],
        row["contestant"],
        three_digits(row["images_per_second"]),
        three_digits(row["milliseconds"]["median"]),
        three_digits(row["core_hours_per_million_images"]),
        ", ".join(f"{ratio:.2f} x over {other}" for other, ratio in row["speed_ratio"].items()),
    )


def three_digits(value: float) -> str:
    """Write a positive number with three digits or, if it is larger, in whole units; never with an exponent."""
    decimals = 2 - math.floor(math.log10(value)) if value > 0 else 0
    return f"{value:,.{max(0, decimals)}f}"


def text_table(result: Mapping[str, Any]) -> str:
    """Return the result as a Markdown page: the table, start-up and memory, what was left out, and where it was measured."""
    facts = result["environment"]
    num_rounds = min((row["milliseconds"]["n"] for row in result["results"]), default=0)
    parts = [
        f"# Speed of {result['source']}",
        _markdown(table_lines(result)),
        f"At least {num_rounds} alternated rounds; the speed-up is the median of the ratios per round. Matrix products: "
        + ", ".join(f"{rate:g} GFLOP/s in {precision}" for precision, rate in result["matrix_product_gflops"].items())
        + f". {result['gflop_per_image']:g} GFLOP per image.",
    ]
    if result["start_up"]:
        rows = [
            (
                name,
                f"{figures['seconds']:.2f}",
                f"{figures['processor_seconds']:.2f}",
                str(figures["peak_mebibytes"] or ""),
            )
            for name, figures in result["start_up"].items()
        ]
        parts.append(_markdown([_START_UP_COLUMNS, *rows]))
    if "int8" in result:
        parts.append(f"int8: {result['int8']}")
    if result["left_out"]:
        parts.append("Left out:\n\n" + "\n".join(f"- {name}: {why}" for name, why in result["left_out"].items()))
    machine = f"{facts.get('device', '')} with {facts.get('instruction_sets', 'unknown instruction sets')}"
    versions = ", ".join(f"{name} {facts[name]}" for name in ("torch", "onnxruntime", "openvino") if name in facts)
    parts.append(f"`{facts['command']}`, {machine}, {versions}, {result['num_threads']} threads.")
    return "\n\n".join(parts) + "\n"


def _markdown(rows: Sequence[Sequence[str]]) -> str:
    lines = [f"| {' | '.join(cells)} |".replace("|  |", "| |") for cells in rows]
    return "\n".join([lines[0], "|" + "---|" * len(rows[0]), *lines[1:]])
