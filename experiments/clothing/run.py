"""Recipe `demo`, or `demo_short`, on the embedded photos, over several seeds.

    python experiments/clothing/run.py [--recipe demo_short] [--seeds 0 1 2]

Claim: a Mixer trained from scratch on 900 photos, in minutes on two cores, is far better than ridge regression on the pixels
of all 1,000 (ridge.py).
A held-out tenth of the training photos chooses the epoch; the 372 test photos are scored once, without test-time augmentation.
"""

import argparse
import dataclasses
import tempfile
from pathlib import Path

from allmlp.provenance import record, spread
from allmlp.recipes import load_recipe
from allmlp.training import train

RESULTS = Path(__file__).parent / "results"
FILES = {"demo": "clothing.json", "demo_short": "demo_short.json"}


def train_mixer(recipe, seed, folder):
    """Train once; return the test scores, the epochs and the minutes."""
    result = train(dataclasses.replace(recipe, seed=seed), "clothing", folder / f"seed{seed}")
    test = result.evaluations["test"]
    figures = {
        "seed": seed,
        "top1": test.top1,
        "balanced_accuracy": test.balanced_accuracy,
        "num_epochs": result.recipe.num_epochs,
        "best_epoch": result.best_epoch,
        "minutes": round(result.seconds / 60, 2),
    }
    print(figures, flush=True)
    return figures


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipe", choices=FILES, default="demo")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    arguments = parser.parse_args()
    recipe = load_recipe(arguments.recipe)
    if arguments.recipe == "demo_short":
        recipe = dataclasses.replace(recipe, max_minutes=None)  # all epochs, also on a busy machine
    with tempfile.TemporaryDirectory() as folder:
        runs = [train_mixer(recipe, seed, Path(folder)) for seed in arguments.seeds]
    summary = {key: spread([run[key] for run in runs]) for key in ("top1", "balanced_accuracy", "minutes")}
    figures = {"mixer": {**summary, "num_epochs": max(run["num_epochs"] for run in runs), "runs": runs}}
    name = "" if arguments.recipe == "demo" else f" --recipe {arguments.recipe}"
    command = f"python experiments/clothing/run.py{name} --seeds {' '.join(map(str, arguments.seeds))}"
    print("wrote", record(RESULTS / FILES[arguments.recipe], figures, command=command))


if __name__ == "__main__":
    main()
