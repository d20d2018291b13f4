"""What the weights that come with allmlp bring: fine-tuning beside training from scratch, for the same number of steps.

    python -m experiments.transfer.run clothing [--seeds 0 1 2] [--epochs 20] [--work runs/transfer]
    python -m experiments.transfer.run FLOWERS --name flowers102

Claim: fine-tuning the starter by recipe `finetune`, as it is, beats training the same Mixer from scratch, at its own best
learning rate and for as many steps, by at least 10 points. The other arms' learning rates are chosen by validation photos at
the first seed (see trials.py); the test photos choose nothing here. Training from scratch is as in recipe `demo`, our best at
that, which was picked in trials that looked at the clothing's test photos (README.md).
Beside them: the paper's fine-tuning (momentum SGD, no weight decay, crops and flips) on its own grid, the classifier alone, and
a linear classifier on the starter's frozen features from five photos a class. Finished runs are kept in --work and not made
again.
"""

import argparse
import dataclasses
from pathlib import Path
from typing import NamedTuple

from experiments.trials import best_over_seeds

from allmlp.checkpoints import load_checkpoint
from allmlp.data import hold_out, open_dataset
from allmlp.inference import Embedder
from allmlp.metrics import FewShotOptions, LabelledFeatures, few_shot
from allmlp.provenance import record, spread
from allmlp.recipes import load_recipe
from allmlp.training import PAPER_GRID, Recipe, TransferConfig

RESULTS = Path(__file__).parent / "results"
MUON_GRID = (0.01, 0.02, 0.04)
ADAMW_GRID = (1e-3, 3e-3, 9e-3)


class Arm(NamedTuple):
    """A way to train, and the learning rates it may choose from."""

    title: str
    recipe: Recipe
    rates: tuple[float, ...]


def arms(epochs):
    """Every arm takes as many steps: epochs times photos over the batch."""
    ours = dataclasses.replace(load_recipe("finetune"), num_epochs=epochs)
    scratch = dataclasses.replace(
        load_recipe("demo"), name="scratch", model=ours.model, num_epochs=epochs, max_minutes=None
    )
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
        "scratch": Arm("from scratch, recipe `demo` with the same Mixer", scratch, MUON_GRID),
        "ours": Arm("fine-tuned, recipe `finetune` with its defaults", ours, (ours.optimizer.learning_rate,)),
        "paper": Arm("fine-tuned as in the paper, with our batch size", paper, PAPER_GRID),
        "head": Arm("only the classifier, recipe `finetune`", head, ADAMW_GRID),
    }


def five_shot(dataset):
    """Score a linear classifier on the starter's features of the test photos, from five photos a class, three draws."""
    embedder = Embedder.from_checkpoint("starter")
    train_split, test = dataset.splits["train"], dataset.splits["test"]
    (result,) = few_shot(
        LabelledFeatures(embedder.embed_split(train_split), train_split.labels, train_split.sample_ids),
        LabelledFeatures(embedder.embed_split(test), test.labels),
        dataset.class_names,
        FewShotOptions(shots=(5,)),
    )
    return spread([draw.top1 for draw in result.draws])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data")
    parser.add_argument("--name", help="of the result; the data's when left out")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--work", type=Path, default=Path("runs/transfer"))
    parser.add_argument("--arms", nargs="+", help="train these and write no result, to train others beside")
    arguments = parser.parse_args()
    name = arguments.name or Path(arguments.data).name
    dataset = open_dataset(arguments.data)
    measured = {
        key: {
            "title": arm.title,
            **best_over_seeds(arm.recipe, arm.rates, dataset, arguments.work / name / key, arguments.seeds),
        }
        for key, arm in arms(arguments.epochs).items()
        if key in (arguments.arms or [key])
    }
    if arguments.arms:
        return
    held_out = hold_out(dataset, fraction=load_recipe("finetune").data.holdout, seed=arguments.seeds[0])
    figures = {
        "num_photos": {split: len(photos) for split, photos in held_out.splits.items()},
        "num_classes": len(dataset.class_names),
        "num_epochs": arguments.epochs,
        "starter": load_checkpoint("starter").source,
        "arms": measured,
        "five_shot": five_shot(dataset),
    }
    data = name if name == arguments.data else f"{name.upper()} --name {name}"  # a path says nothing on another machine
    command = f"python -m experiments.transfer.run {data} --epochs {arguments.epochs} --seeds " + " ".join(
        map(str, arguments.seeds)
    )
    print("wrote", record(RESULTS / f"{name}.json", figures, command=command))


if __name__ == "__main__":
    main()
