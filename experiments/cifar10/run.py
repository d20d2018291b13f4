"""CIFAR-10 from scratch in 25 minutes on a laptop's processor.

    python experiments/cifar10/run.py CIFAR10 [--minutes 25] [--seeds 0 1 2] [--keep] [--work runs/cifar10]

Aim: the recipe's Mixer (0.61 M parameters) reaches at least 82 % on the 10,000 test photos, without test-time averaging, in
the mean of three seeds. `--minutes` bounds training with all its evaluations; a tenth of the training photos is held out to
choose the epoch. Finished runs are kept in --work and not made again. With --keep the result file's runs of other seeds stay
in it; every run says the machine and the commit that it was made with.
"""

import argparse
import dataclasses
import json
from pathlib import Path

from allmlp.provenance import record, spread
from allmlp.recipes import load_recipe
from allmlp.training import stored_run, train

RESULT = Path(__file__).parent / "results" / "cifar10.json"


class Lines:
    """Prints a line an epoch."""

    def message(self, text):
        print(text, flush=True)

    def start(self, total_steps):
        print(f"{total_steps} steps", flush=True)

    def step(self, step, **figures): ...

    def epoch(self, row):
        print({name: round(value, 4) for name, value in row.items()}, flush=True)

    def finish(self): ...


def run(seed, arguments):
    """Train unless it was done before; return the figures."""
    folder = arguments.work / f"seed-{seed}"
    stored = stored_run(folder)
    if stored is None or not stored.is_finished:
        recipe = dataclasses.replace(load_recipe("cifar10"), seed=seed, max_minutes=arguments.minutes)
        train(recipe, arguments.data, folder, progress=Lines(), resume=True)
    facts = json.loads((folder / "metrics.json").read_text())
    made_with = json.loads((folder / "environment.json").read_text())
    recipe = stored_run(folder).recipe
    figures = {
        "seed": seed,
        "top1": facts["evaluations"]["test"]["top1"],
        "num_epochs": recipe.num_epochs,
        "best_epoch": facts["best_epoch"],
        "minutes": round(facts["seconds"] / 60, 2),
        "images_per_second": round(facts["num_steps"] * recipe.batch_size / facts["seconds"], 1),
        "precision": recipe.precision,
        "device": made_with["device"],
        "commit": made_with.get("commit", ""),
    }
    print(figures, flush=True)
    return figures


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", help="CIFAR-10 as photos, with a test split")
    parser.add_argument("--minutes", type=float, default=25.0)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--work", type=Path, default=Path("runs/cifar10"))
    parser.add_argument("--keep", action="store_true", help="keep the runs of other seeds that the result file has")
    arguments = parser.parse_args()
    kept = json.loads(RESULT.read_text()) if arguments.keep else {"bound_minutes": arguments.minutes, "runs": []}
    if kept["bound_minutes"] != arguments.minutes:
        parser.error(
            f"--keep: {RESULT} has runs of {kept['bound_minutes']:g} minutes, these are of {arguments.minutes:g}"
        )
    runs = [one for one in kept["runs"] if one["seed"] not in arguments.seeds]
    runs = sorted([*runs, *(run(seed, arguments) for seed in arguments.seeds)], key=lambda one: one["seed"])
    figures = {"top1": spread([one["top1"] for one in runs]), "bound_minutes": arguments.minutes, "runs": runs}
    command = (
        f"python experiments/cifar10/run.py CIFAR10 --minutes {arguments.minutes:g} --seeds "
        + " ".join(map(str, arguments.seeds))
        + (" --keep" if arguments.keep else "")
    )
    print("wrote", record(RESULT, figures, command=command))


if __name__ == "__main__":
    main()
