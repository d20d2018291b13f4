"""CIFAR-10 from scratch in 25 minutes on a laptop CPU.

    python experiments/cifar10/run.py CIFAR10 [--minutes 25] [--seeds 0 1 2] [--keep] [--work runs/cifar10]

Goal: the recipe's Mixer (0.61 M parameters) reaches at least 82 % on the 10,000 test photos, as the mean of three seeds and
without test-time augmentation. `--minutes` limits training including its evaluations; a tenth of the training photos is held
out to choose the epoch. Runs that are finished in --work are not repeated. With --keep, runs of other seeds stay in the result
file; each run records its machine and commit.
"""

import argparse
import dataclasses
import json
from pathlib import Path

from allmlp.provenance import record, spread
from allmlp.recipes import load_recipe
from allmlp.training import stored_run, train

RESULT = Path(__file__).parent / "results" / "cifar10.json"


class LineProgress:
    """Progress report of one line per epoch."""

    def message(self, text):
        print(text, flush=True)

    def start(self, total_steps):
        print(f"{total_steps} steps", flush=True)

    def step(self, step, **figures): ...

    def epoch(self, row):
        print({name: round(value, 4) for name, value in row.items()}, flush=True)

    def finish(self): ...


def run(seed, arguments):
    """Train unless the run is finished already; return its figures."""
    folder = arguments.work / f"seed-{seed}"
    stored = stored_run(folder)
    if stored is None or not stored.is_finished:
        recipe = dataclasses.replace(load_recipe("cifar10"), seed=seed, max_minutes=arguments.minutes)
        train(recipe, arguments.data, folder, progress=LineProgress(), resume=True)
    facts = json.loads((folder / "metrics.json").read_text())
    environment = json.loads((folder / "environment.json").read_text())
    recipe = stored_run(folder).recipe
    figures = {
        "seed": seed,
        "top1": facts["evaluations"]["test"]["top1"],
        "num_epochs": recipe.num_epochs,
        "best_epoch": facts["best_epoch"],
        "minutes": round(facts["seconds"] / 60, 2),
        "images_per_second": round(facts["num_steps"] * recipe.batch_size / facts["seconds"], 1),
        "precision": recipe.precision,
        "device": environment["device"],
        "commit": environment.get("commit", ""),
    }
    print(figures, flush=True)
    return figures


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", help="CIFAR-10 as photos, with a test split")
    parser.add_argument("--minutes", type=float, default=25.0)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--work", type=Path, default=Path("runs/cifar10"))
    parser.add_argument("--keep", action="store_true", help="keep runs of other seeds in the result file")
    arguments = parser.parse_args()
    kept = json.loads(RESULT.read_text()) if arguments.keep else {"bound_minutes": arguments.minutes, "runs": []}
    if kept["bound_minutes"] != arguments.minutes:
        parser.error(
            f"--keep: {RESULT} has runs of {kept['bound_minutes']:g} minutes, but --minutes is {arguments.minutes:g}; "
            "use the same limit or leave out --keep"
        )
    runs = [previous for previous in kept["runs"] if previous["seed"] not in arguments.seeds]
    runs = sorted([*runs, *(run(seed, arguments) for seed in arguments.seeds)], key=lambda row: row["seed"])
    figures = {"top1": spread([row["top1"] for row in runs]), "bound_minutes": arguments.minutes, "runs": runs}
    command = (
        f"python experiments/cifar10/run.py CIFAR10 --minutes {arguments.minutes:g} --seeds "
        + " ".join(map(str, arguments.seeds))
        + (" --keep" if arguments.keep else "")
    )
    print("wrote", record(RESULT, figures, command=command))


if __name__ == "__main__":
    main()
