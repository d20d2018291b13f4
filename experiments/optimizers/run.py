"""Comparison of optimizers on a small Mixer for the same compute.

    python -m experiments.optimizers.run CIFAR10 [--photos 20000] [--epochs 6] [--seeds 0 1 2] [--work runs/optimizers]

Claim: for the same number of forward and backward passes on the Mixer of recipe `cifar10`, Muon (with AdamW for all parameters
except the matrices of the blocks) is ahead of AdamW, momentum SGD, and AdamW with sharpness-aware steps (SAM, arXiv 2010.01412,
which helped Mixers on ImageNet: arXiv 2106.01548). A sharpness-aware step takes two passes, so SAM gets half the epochs. Its
ascent step is about 5e-5 per weight, too small for bfloat16 to represent, so all optimizers train in float32. For each one the
learning rate is chosen from three values, a factor of 3 apart, on held-out photos at the first seed (see trials.py).
Everything else is as in recipe `cifar10`, whose weight decay and momentum were tuned for Muon, except that batches have half
the size, which gives these short runs more steps. The test photos choose nothing. The time of a pass is measured separately,
in alternating turns, with no other load on the machine.
Runs that are finished in --work are not repeated.
"""

import argparse
import dataclasses
import statistics
import time
from pathlib import Path
from unittest.mock import patch

import numpy as np
import torch
from experiments.trials import best_over_seeds

from allmlp.data import open_dataset
from allmlp.model import num_parameters
from allmlp.provenance import record
from allmlp.recipes import load_recipe
from allmlp.training import OptimizerConfig, loop
from allmlp.training.distributed.process_group import ONE_PROCESS
from allmlp.training.step.batch import TrainingBatch
from allmlp.training.step.state import TrainState
from allmlp.training.step.update import gradient, update

RESULT = Path(__file__).parent / "results" / "optimizers.json"
BATCH_SIZE = 128
RADIUS = 0.05  # of a sharpness-aware step, from SAM's paper for CIFAR

CIFAR10 = load_recipe("cifar10")
ADAMW = OptimizerConfig(name="adamw", learning_rate=3e-3, weight_decay=0.1)
ADAMW_RATES = (1e-3, 3e-3, 9e-3)
ARMS = {
    "Muon and AdamW": (CIFAR10.optimizer, (0.0067, 0.02, 0.06)),
    "AdamW": (ADAMW, ADAMW_RATES),
    "SGD": (OptimizerConfig(name="sgd", learning_rate=0.1, weight_decay=5e-4, momentum=0.9), (0.03, 0.1, 0.3)),
    "AdamW, sharpness-aware": (ADAMW, ADAMW_RATES),
}
SHARP = "AdamW, sharpness-aware"


def sharpness_aware(state, model, batch, recipe, factor, *, ranks):
    """Take one step with the gradient at the point RADIUS uphill; a replacement for `update`."""
    parameters = list(state.model.parameters())
    before = [parameter.detach().clone() for parameter in parameters]
    _, norm = gradient(state, model, batch, recipe, ranks=ranks)
    with torch.no_grad():
        for parameter in parameters:
            parameter.add_(parameter.grad, alpha=RADIUS / (norm + 1e-12))
    loss, norm = gradient(state, model, batch, recipe, ranks=ranks)
    with torch.no_grad():
        torch._foreach_copy_(parameters, before)
    state.step_optimizer(norm, factor)
    return loss


UPDATES = {name: sharpness_aware if name == SHARP else update for name in ARMS}
PASSES = {name: 2 if name == SHARP else 1 for name in ARMS}


def arm_recipe(name, epochs):
    """Return the recipe of an arm, in float32; all arms have the same number of passes."""
    return dataclasses.replace(
        CIFAR10,
        optimizer=ARMS[name][0],
        num_epochs=epochs // PASSES[name],
        batch_size=BATCH_SIZE,
        precision="float32",
        max_minutes=None,
    )


def measure(name, dataset, epochs, seeds, work):
    """Choose the learning rate at the first seed, then train with it at the other seeds."""
    recipe = arm_recipe(name, epochs)
    folder = work / name.lower().replace(",", "").replace(" ", "-")
    with patch.object(loop, "update", UPDATES[name]):
        measured = best_over_seeds(recipe, ARMS[name][1], dataset, folder, seeds)
    return {"num_epochs": recipe.num_epochs, "passes": PASSES[name] * measured["runs"][0]["num_steps"], **measured}


def milliseconds_per_pass(turns):
    """Return the median time per pass of each arm, including its share of the optimizer step, in alternating turns."""
    labels = torch.eye(10)[torch.arange(BATCH_SIZE) % 10]
    batch = TrainingBatch(torch.randn(BATCH_SIZE, 3, 32, 32), labels, None, np.arange(BATCH_SIZE, dtype=np.uint64))
    recipes = {name: arm_recipe(name, epochs=2) for name in ARMS}
    model = dataclasses.replace(CIFAR10.model, num_classes=10)
    states = {name: TrainState(dataclasses.replace(recipe, model=model)) for name, recipe in recipes.items()}
    times = {name: [] for name in ARMS}
    for turn in range(turns + 1):
        for name, state in states.items():
            start = time.perf_counter()
            UPDATES[name](state, state.model, batch, recipes[name], 1.0, ranks=ONE_PROCESS)
            if turn:  # the first turn allocates the optimizer's state
                times[name].append(1000 * (time.perf_counter() - start) / PASSES[name])
    return {name: round(statistics.median(values), 1) for name, values in times.items()}


def subset(dataset, num_photos):
    """Keep `num_photos` training photos, drawn with a fixed seed, and all test photos."""
    train_split = dataset.splits["train"]
    kept = np.sort(np.random.default_rng(0).permutation(len(train_split))[:num_photos])
    return dataclasses.replace(dataset, splits={**dataset.splits, "train": train_split.subset(kept.tolist())})


def plot(measured, path):
    """Plot each optimizer's test top-1, one point per seed."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 2.6), layout="constrained")
    axes = figure.subplots()
    names = sorted(measured, key=lambda name: measured[name]["top1"]["mean"])
    for height, name in enumerate(names):
        points = [100 * run["test"] for run in measured[name]["runs"]]
        axes.plot([100 * measured[name]["top1"]["mean"]], [height], "|", markersize=22, color="#1b2230")
        axes.plot(points, [height] * len(points), "o", color="#2563c9", alpha=0.7)
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(-0.5, len(names) - 0.5)
    axes.set_xlabel("test top-1 %: one point per seed, a bar at their mean")
    axes.grid(axis="x", alpha=0.3)
    axes.spines[["top", "right", "left"]].set_visible(False)
    figure.savefig(path, dpi=160)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", help="CIFAR-10 as photos, with a test split")
    parser.add_argument("--photos", type=int, default=20_000)
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--work", type=Path, default=Path("runs/optimizers"))
    parser.add_argument(
        "--arms", choices=ARMS, nargs="+", help="train only these and write no result, to run arms in parallel"
    )
    arguments = parser.parse_args()
    dataset = subset(open_dataset(arguments.data), arguments.photos)
    measured = {
        name: measure(name, dataset, arguments.epochs, arguments.seeds, arguments.work)
        for name in arguments.arms or ARMS
    }
    if arguments.arms:
        return
    command = (
        f"python -m experiments.optimizers.run CIFAR10 --photos {arguments.photos} --epochs {arguments.epochs} --seeds "
        + " ".join(map(str, arguments.seeds))
    )
    figures = {
        "milliseconds_a_pass": milliseconds_per_pass(turns=30),
        "parameters": num_parameters(dataclasses.replace(CIFAR10.model, num_classes=10)),
        "photos": arguments.photos,
        "num_epochs": arguments.epochs,
        "batch_size": BATCH_SIZE,
        "arms": measured,
    }
    print("wrote", record(RESULT, figures, command=command))
    plot(measured, RESULT.with_suffix(".png"))
    print("wrote", RESULT.with_suffix(".png"))


if __name__ == "__main__":
    main()
