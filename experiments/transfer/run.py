"""What the weights that come with allmlp bring: fine-tuning beside training from scratch, for the same number of steps.

    python experiments/transfer/run.py clothing [--seeds 0 1 2] [--epochs 20]
    python experiments/transfer/run.py FLOWERS --name flowers102

Claim: fine-tuning the starter beats training the same Mixer from scratch, at its own best learning rate and for as many
steps, by at least 10 points. Each arm's learning rate is chosen by validation photos at the first seed; the test photos
choose nothing. Beside them: the paper's fine-tuning (momentum SGD, no weight decay, crops and flips) on its own grid, the
classifier alone, and a linear classifier on the starter's frozen features from five photos a class. Finished runs are kept in
--work and not made again.
"""

import argparse
import dataclasses
import json
from pathlib import Path

from allmlp.checkpoints import load_checkpoint
from allmlp.data import open_dataset
from allmlp.evaluation import few_shot
from allmlp.inference import Embedder
from allmlp.provenance import record, spread
from allmlp.recipes import load_recipe
from allmlp.training import PAPER_GRID, TransferConfig, at_learning_rate, stored_run, train

RESULTS = Path(__file__).parent / "results"
OUR_GRID = (0.005, 0.01, 0.02, 0.04)


class Arm:
    """A way to train, and the learning rates it may choose from."""

    def __init__(self, title, recipe, grid):
        self.title, self.recipe, self.grid = title, recipe, grid


def arms(epochs):
    """Every arm takes as many steps: epochs times photos over the batch."""
    ours = dataclasses.replace(load_recipe("finetune"), num_epochs=epochs)
    scratch = dataclasses.replace(ours, name="scratch", transfer=TransferConfig())
    paper = load_recipe("finetune_paper")
    paper = dataclasses.replace(
        paper,
        num_epochs=epochs,
        num_steps=None,
        batch_size=ours.batch_size,
        augmentation=dataclasses.replace(paper.augmentation, pad_pixels=5),  # 16 of 224 are 5 of 64
        transfer=TransferConfig(checkpoint="starter"),
    )
    head = dataclasses.replace(ours, name="head", transfer=dataclasses.replace(ours.transfer, trained_blocks=0))
    return {
        "scratch": Arm("from scratch, as recipe `finetune`", scratch, OUR_GRID),
        "ours": Arm("fine-tuned, recipe `finetune`", ours, OUR_GRID),
        "paper": Arm("fine-tuned as in the paper, batches of ours", paper, PAPER_GRID),
        "head": Arm("classifier alone, recipe `finetune`", head, OUR_GRID),
    }


def run(recipe, dataset, folder):
    """Train unless it was done before; return its figures."""
    stored = stored_run(folder)
    if stored is None or not stored.is_finished:
        train(recipe, dataset, folder, resume=True)
    facts = json.loads((folder / "metrics.json").read_text())
    scores = {split: facts["evaluations"][split]["top1"] for split in ("validation", "test")}
    print(folder, scores, flush=True)
    return {
        **scores,
        "minutes": round(facts["seconds"] / 60, 2),
        "num_steps": facts["num_steps"],
        "best_epoch": facts["best_epoch"],
    }


def measure(arm, dataset, folder, seeds):
    grid = {
        rate: run(
            dataclasses.replace(at_learning_rate(arm.recipe, rate), seed=seeds[0]), dataset, folder / f"lr-{rate:g}"
        )
        for rate in arm.grid
    }
    best = max(grid, key=lambda rate: grid[rate]["validation"])
    runs = [{"seed": seeds[0], **grid[best]}]
    for seed in seeds[1:]:
        recipe = dataclasses.replace(at_learning_rate(arm.recipe, best), seed=seed)
        runs.append({"seed": seed, **run(recipe, dataset, folder / f"seed-{seed}")})
    return {
        "title": arm.title,
        "learning_rate": best,
        "grid": [{"learning_rate": rate, **figures} for rate, figures in grid.items()],
        "top1": spread([one["test"] for one in runs]),
        "minutes": spread([one["minutes"] for one in runs]),
        "runs": runs,
    }


def five_shot(dataset):
    """Score a linear classifier on the starter's features of the test photos, from five photos a class, three draws."""
    embedder = Embedder.from_checkpoint("starter")
    train_split, test = dataset.splits["train"], dataset.splits["test"]
    (result,) = few_shot(
        embedder.embed_split(train_split),
        train_split.labels,
        train_split.identities,
        embedder.embed_split(test),
        test.labels,
        dataset.class_names,
        shots=(5,),
    )
    return spread([draw.top1 for draw in result.draws])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data")
    parser.add_argument("--name", help="of the result; the data's when left out")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--work", type=Path, default=Path("runs/transfer"))
    parser.add_argument("--arm", help="train only this one and write no result, to train others beside it")
    arguments = parser.parse_args()
    name = arguments.name or Path(arguments.data).name
    dataset = open_dataset(arguments.data)
    measured = {
        key: measure(arm, dataset, arguments.work / name / key, arguments.seeds)
        for key, arm in arms(arguments.epochs).items()
        if arguments.arm in (None, key)
    }
    if arguments.arm is not None:
        return
    figures = {
        "num_photos": {split: len(photos) for split, photos in dataset.splits.items()},
        "num_classes": len(dataset.class_names),
        "num_epochs": arguments.epochs,
        "starter": load_checkpoint("starter").source,
        "arms": measured,
        "five_shot": five_shot(dataset),
        "gain": measured["ours"]["top1"]["mean"] - measured["scratch"]["top1"]["mean"],
    }
    command = f"python experiments/transfer/run.py {name} --epochs {arguments.epochs} --seeds " + " ".join(
        map(str, arguments.seeds)
    )
    print("wrote", record(RESULTS / f"{name}.json", figures, command=command))


if __name__ == "__main__":
    main()
