"""Write the tables of README.md from the JSON that the experiments and benchmarks wrote: `make tables`.

Each table stands between `<!-- table: NAME -->` and `<!-- end -->`; its text is made here and nowhere else.
"""

import json
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def read(path):
    return json.loads((ROOT / path).read_text())


def caption(result):
    facts = result["environment"]
    return f"`{facts['command']}`, commit {facts['commit']}, {facts['device']}, torch {facts['torch']}.\n"


def percent(figures):
    """Mean ± standard deviation, or the one value."""
    mean = f"{100 * figures['mean']:.1f}"
    return mean if figures["n"] == 1 else f"{mean} ± {100 * figures['std']:.1f}"


def clothing():
    result = read("experiments/clothing/results/clothing.json")
    mixer, ridge = result["mixer"], read("experiments/clothing/results/ridge.json")
    return (
        "Clothing, 10 classes, 900 training photos of 64 × 64 pixels, 372 test photos:\n\n"
        "| | test top-1 % | balanced accuracy % | minutes |\n|---|---|---|---|\n"
        f"| Mixer, recipe `demo`, {mixer['num_epochs']} epochs, {mixer['top1']['n']} seeds (mean ± std) "
        f"| {percent(mixer['top1'])} | {percent(mixer['balanced_accuracy'])} | {mixer['minutes']['mean']:.1f} |\n"
        f"| ridge regression on the pixels of all 1,000, regularisation cross-validated "
        f"| {100 * ridge['top1']:.1f} | {100 * ridge['balanced_accuracy']:.1f} | |\n\n"
        + caption(result)
        + caption(ridge)
    )


def cifar10():
    result = read("experiments/cifar10/results/cifar10.json")
    rows = "".join(
        f"| {run['seed']} | {100 * run['top1']:.2f} | {run['num_epochs']} | {run['minutes']:.1f} "
        f"| {run['images_per_second']:.0f} |\n"
        for run in result["runs"]
    )
    return (
        "CIFAR-10, recipe `cifar10` (Mixer-nano: patches of 4, 8 blocks, C 128, D_S 64, D_C 512; 1.13 M parameters), "
        f"bounded to {result['bound_minutes']:g} minutes, "
        f"{result['runs'][0]['precision']}:\n\n"
        "| seed | test top-1 % | epochs | minutes | photos/s, validation included |\n|---|---|---|---|---|\n"
        + rows
        + "\n"
        + caption(result)
    )


def training_step():
    result = read("benchmarks/results/training_step.json")
    text = "| batch | | ms a step (median) | peak memory, MiB | of the machine's matrix-product rate |\n|---|---|---|---|---|\n"
    for batch, figures in result["batch"].items():
        for name, time in figures["milliseconds"].items():
            text += (
                f"| {batch} | {name} | {time['median']:.0f} | {figures['peak_mebibytes'][name]} "
                f"| {figures['share_of_limit'][name]:.0%} |\n"
            )
    text += "\n| batch | speed | median of the turns (min to max) |\n|---|---|---|\n"
    for batch, figures in result["batch"].items():
        for name, ratio in figures["speed_ratio"].items():
            text += f"| {batch} | {name} | {ratio['median']:.2f} × ({ratio['min']:.2f} to {ratio['max']:.2f}) |\n"
    turns = next(iter(result["batch"].values()))["milliseconds"]["timm float32"]["n"]
    return (
        f"{text}\n{turns} alternated turns; timm's GELU is erf, ours too unless it says tanh. Peak memory is the whole "
        f"process's, torch included. {caption(result)}"
    )


def feeding():
    result = read("benchmarks/results/feeding.json")
    text = "What feeding CIFAR-10 costs (recipe `cifar10`, photos in memory, " + result["precision"] + "):\n\n"
    text += "| batch | making it, ms | update, ms | share of the step |\n|---|---|---|---|\n"
    for batch, figures in result["batch"].items():
        text += (
            f"| {batch} | {figures['feeding_milliseconds']['median']:.1f} "
            f"| {figures['update_milliseconds']['median']:.0f} | {figures['feeding_share']['median']:.1%} |\n"
        )
    return f"{text}\n{caption(result)}"


TABLES = {"clothing": clothing, "cifar10": cifar10, "training_step": training_step, "feeding": feeding}


def with_tables(text):
    """Return README's text with every table made anew."""
    for name, make in TABLES.items():
        pattern = re.compile(rf"(<!-- table: {name} -->\n).*?(<!-- end -->)", re.DOTALL)
        assert len(pattern.findall(text)) == 1, f"README.md needs one place for the table {name}"
        text = pattern.sub(r"\1" + make().replace("\\", r"\\") + r"\2", text)
    return text


if __name__ == "__main__":
    readme = ROOT / "README.md"
    readme.write_text(with_tables(readme.read_text()))
    print(f"wrote {readme.name}")
