"""How a Mixer's time grows with the number of pixels (112 to 448) and with its depth. The paper: linearly with both.

    python benchmarks/scaling.py

All sizes take turns in rounds of one run. The fit is a line through the medians, with an intercept for what does not grow; the
largest deviation of a median from it is reported in percent. Mixer S/16's widths, except that token mixing keeps its hidden
width at every image size, as the paper says (the number of tokens grows with the pixels).

A finished axis is written to results/scaling_parts.json, so that the same command goes on after an interruption, unless the
commit, the machine or an option changed. Cost: 13 turns of five sizes on each axis, which together compute as much as some 250
photos of S/16 with --batch 1: minutes on two cores.
"""

import argparse
import json
from functools import partial
from pathlib import Path

import numpy as np

from allmlp.bench import alternated_rounds, random_checkpoint
from allmlp.io.atomic_write import write_json
from allmlp.provenance import environment, record, spread

RESULT = Path(__file__).parent / "results" / "scaling.json"
PARTS = RESULT.with_name("scaling_parts.json")
SIDES = (112, 160, 224, 320, 448)
DEPTHS = (2, 4, 8, 12, 16)


def seconds_per_image(configs, backend, batch_size, arguments):
    """Return the spread of seconds per image of each configuration."""
    from allmlp.inference import open_model

    calls = {}
    for name, config in configs.items():
        forward = open_model(random_checkpoint(config, source=str(name)), backend=backend, device="cpu").forward
        shape = (batch_size, 3, *config.image_size)
        images = np.random.default_rng(0).standard_normal(shape, dtype=np.float32)
        calls[name] = partial(forward, images)
        for _ in range(-(-81 // batch_size) if batch_size > 1 else 1):  # until the micro-batches have their final size
            calls[name]()
    times = alternated_rounds(calls, num_rounds=arguments.rounds, seconds=float("inf"))
    return {name: spread([value / batch_size for value in values]) for name, values in times.items()}


def fit(amounts, figures):
    """Return a line through the medians, and its largest deviation from one of them as a fraction of it."""
    medians = np.array([figure["median"] for figure in figures.values()])
    slope, intercept = np.polyfit(amounts, medians, 1, w=1 / medians)
    deviations = (slope * np.array(amounts) + intercept) / medians - 1
    return {
        "slope": float(f"{slope:.5g}"),
        "intercept": float(f"{intercept:.5g}"),
        "largest_deviation": round(float(np.abs(deviations).max()), 4),
        # Of the ratio of the times of the largest and the smallest to the ratio of their amounts: 1 without an intercept.
        "growth_per_amount": round(float(medians[-1] / medians[0] / (amounts[-1] / amounts[0])), 4),
    }


def plot(result, path):
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator, StrMethodFormatter

    figure = Figure(figsize=(9, 3.5), layout="constrained")
    for axes, (name, part) in zip(figure.subplots(1, 2), result["axes"].items(), strict=True):
        amounts = [row["amount"] for row in part["rows"]]
        axes.plot(amounts, [1000 * row["seconds"]["median"] for row in part["rows"]], "o", label="median")
        line = part["fit"]["slope"] * np.array(amounts) + part["fit"]["intercept"]
        axes.plot(amounts, 1000 * line, label=f"line, within {part['fit']['largest_deviation']:.0%}")
        axes.set(xlabel=name, ylabel="ms per image", ylim=(0, None))
        axes.xaxis.set_major_locator(MaxNLocator(4))
        axes.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
        axes.legend()
    figure.savefig(path, dpi=110)
    print("wrote", path)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("--backend", default="eager")
    parser.add_argument("--batch", type=int, default=1)
    arguments = parser.parse_args()
    import torch

    from allmlp.model import variant_config

    base = variant_config("S/16", num_classes=1000)
    by_side = {side: variant_config("S/16", num_classes=1000, image_size=(side, side)) for side in SIDES}
    by_depth = {depth: variant_config("S/16", num_classes=1000, num_blocks=depth) for depth in DEPTHS}
    facts = environment()
    made_with = [
        vars(arguments),
        *(facts.get(name) for name in ("commit", "torch", "platform", "device", "instruction_sets")),
    ]
    saved = json.loads(PARTS.read_text()) if PARTS.exists() else {}
    axes = saved["axes"] if saved.get("made_with") == made_with else {}
    for name, configs, amounts in (
        ("pixels", by_side, [side * side for side in SIDES]),
        ("blocks", by_depth, list(DEPTHS)),
    ):
        if name in axes:
            print(f"{name}: measured before")
            continue
        figures = seconds_per_image(configs, arguments.backend, arguments.batch, arguments)
        rows = [
            {"setting": setting, "amount": amount, "seconds": figures[setting]}
            for setting, amount in zip(configs, amounts, strict=True)
        ]
        axes[name] = {"rows": rows, "fit": fit(amounts, figures)}
        print(name, axes[name]["fit"])
        write_json(PARTS, {"made_with": made_with, "axes": axes})
    result = {
        "model": f"S/16's widths, {base.num_blocks} blocks or {base.image_size[0]} pixels where they do not vary",
        "backend": arguments.backend,
        "batch_size": arguments.batch,
        "num_threads": torch.get_num_threads(),
        "axes": axes,
    }
    command = f"python benchmarks/scaling.py --rounds {arguments.rounds}"
    command += f" --backend {arguments.backend} --batch {arguments.batch}"
    print("wrote", record(RESULT, result, command=command))
    PARTS.unlink(missing_ok=True)
    plot(result, RESULT.with_suffix(".png"))


if __name__ == "__main__":
    main()
