"""CIFAR-10 from scratch in 25 minutes on a laptop's processor.

    python experiments/cifar10/run.py CIFAR10 [--minutes 25] [--seeds 0]

Claim: Mixer-nano (1.13 M parameters) reaches at least 78 % on the 10,000 test photos, without test-time averaging.
`--minutes` bounds training with all its evaluations; a tenth of the training photos is held out to choose the epoch.
"""

import argparse
import dataclasses
import tempfile
from pathlib import Path

from allmlp.provenance import record, spread
from allmlp.recipes import load_recipe
from allmlp.training import train

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


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", help="CIFAR-10 as photos, with a test split")
    parser.add_argument("--minutes", type=float, default=25.0)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    arguments = parser.parse_args()
    runs = []
    for seed in arguments.seeds:
        recipe = dataclasses.replace(load_recipe("cifar10"), seed=seed, max_minutes=arguments.minutes)
        with tempfile.TemporaryDirectory() as folder:
            result = train(recipe, arguments.data, Path(folder) / "run", progress=Lines())
        steps = round(len(result.dataset.splits["train"]) * result.recipe.num_epochs / recipe.batch_size)
        runs.append(
            {
                "seed": seed,
                "top1": result.evaluations["test"].top1,
                "num_epochs": result.recipe.num_epochs,
                "best_epoch": result.best_epoch,
                "minutes": round(result.seconds / 60, 2),
                "images_per_second": round(steps * recipe.batch_size / result.seconds, 1),
                "precision": result.recipe.precision,
            }
        )
        print(runs[-1], flush=True)
    figures = {"top1": spread([run["top1"] for run in runs]), "bound_minutes": arguments.minutes, "runs": runs}
    print(
        "wrote",
        record(RESULT, figures, command=f"python experiments/cifar10/run.py CIFAR10 --minutes {arguments.minutes:g}"),
    )


if __name__ == "__main__":
    main()
