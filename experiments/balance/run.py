"""Class imbalance: training on the embedded photos with every other class reduced to a tenth, with and without balancing.

    python experiments/balance/run.py [--epochs 60] [--seeds 0]

Claim: without balancing, the Mixer recognises hardly any photos of the rare classes. The balanced sampler recovers a part of
them without loss of top-1. Class weights also recover some of them, at the cost of the frequent classes.
One run each on 372 test photos has a standard error of 2.5 points: this shows the direction only.
"""

import argparse
import dataclasses
import tempfile
from pathlib import Path

import numpy as np

from allmlp.data import open_dataset
from allmlp.provenance import record, spread
from allmlp.recipes import load_recipe
from allmlp.training import train

RESULT = Path(__file__).parent / "results" / "balance.json"
KEPT = 10  # of the 100 photos of a rare class
SETTINGS = {
    "plain": {},
    "sampler=balanced": {"sampler": "balanced"},
    "class_weights=balanced": {"class_weights": "balanced"},
}


def make_imbalanced(dataset):
    """Reduce every other class of train to its first KEPT photos; return the data set and the reduced classes."""
    photos = dataset.splits["train"]
    rare = np.arange(1, len(dataset.class_names), 2)
    by_class = [np.flatnonzero(photos.labels == label) for label in range(len(dataset.class_names))]
    kept = np.sort(
        np.concatenate([indices[:KEPT] if label in rare else indices for label, indices in enumerate(by_class)])
    )
    return dataclasses.replace(dataset, splits={**dataset.splits, "train": photos.subset(kept)}), rare


def measure(recipe, dataset, rare, folder):
    """Train once; return the test figures."""
    result = train(recipe, dataset, folder)
    test = result.evaluations["test"]
    figures = {
        "seed": recipe.seed,
        "top1": test.top1,
        "balanced_accuracy": test.balanced_accuracy,
        "rare_recall": float(np.mean([test.per_class[label].recall for label in rare])),
        "minutes": round(result.seconds / 60, 2),
    }
    print(folder.name, figures, flush=True)
    return figures


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=60)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    arguments = parser.parse_args()
    dataset, rare = make_imbalanced(open_dataset("clothing"))
    recipe = dataclasses.replace(load_recipe("demo"), num_epochs=arguments.epochs, max_minutes=None)
    rows = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, changes in SETTINGS.items():
            runs = [
                measure(
                    dataclasses.replace(recipe, seed=seed, **changes), dataset, rare, Path(folder) / f"{name}-{seed}"
                )
                for seed in arguments.seeds
            ]
            means = {key: spread([run[key] for run in runs]) for key in ("top1", "balanced_accuracy", "rare_recall")}
            rows[name] = {**means, "runs": runs}
    figures = {"num_epochs": arguments.epochs, "num_training": len(dataset.splits["train"]), "rows": rows}
    seeds = " ".join(map(str, arguments.seeds))
    command = f"python experiments/balance/run.py --epochs {arguments.epochs} --seeds {seeds}"
    print("wrote", record(RESULT, figures, command=command))


if __name__ == "__main__":
    main()
