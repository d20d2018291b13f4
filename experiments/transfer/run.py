"""Benefit of the weights that come with allmlp: fine-tuning against training from scratch, for the same number of steps.

    python -m experiments.transfer.run clothing [--seeds 0 1 2] [--epochs 20] [--work runs/transfer]
    python -m experiments.transfer.run FLOWERS --name flowers102

Claim: fine-tuning the starter with the unchanged recipe `finetune` beats training the same Mixer from scratch, at its best
learning rate and for the same number of steps, by at least 10 points. Learning rates of the other arms are chosen on validation
photos at the first seed (see trials.py); the test photos choose nothing here. Training from scratch uses recipe `demo`, our
best for that, which was selected in trials that looked at the test photos of clothing (docs/results.md).
Further arms: the paper's fine-tuning (momentum SGD, no weight decay, crops and flips) over its own learning rates, training of
only the classifier, and a linear classifier on the starter's frozen features from five photos per class. Runs that are finished
in --work are not repeated. --arms measures only these anew, in the result that there is: training from scratch, for one, does
not depend on the starter. --five-shot measures only the last of these anew.
"""

import argparse
import dataclasses
import json
from pathlib import Path
from typing import NamedTuple

from experiments.trials import best_over_seeds

from allmlp.checkpoints import load_checkpoint
from allmlp.data import hold_out, open_dataset
from allmlp.inference import Embedder
from allmlp.io.atomic_write import write_json
from allmlp.metrics import FewShotOptions, LabelledFeatures, few_shot
from allmlp.provenance import environment, record, spread
from allmlp.recipes import load_recipe
from allmlp.training import PAPER_GRID, Recipe, TransferConfig

RESULTS = Path(__file__).parent / "results"
MUON_GRID = (0.01, 0.02, 0.04)
ADAMW_GRID = (1e-3, 3e-3, 9e-3)


class Arm(NamedTuple):
    """A training method and its candidate learning rates."""

    recipe: Recipe
    rates: tuple[float, ...]


def arms(epochs):
    """Return the arms by key; all take the same number of steps: epochs times photos over the batch size."""
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
        augmentation=dataclasses.replace(paper.augmentation, pad_pixels=5),  # 16 at 224 pixels correspond to 5 at 64
        transfer=TransferConfig(checkpoint="starter"),
    )
    transfer = dataclasses.replace(
        ours.transfer, trained_blocks=0, cached_passes=0
    )  # with mixing, as in docs/transfer.md
    head = dataclasses.replace(ours, name="head", transfer=transfer)
    return {
        "scratch": Arm(scratch, MUON_GRID),
        "ours": Arm(ours, (ours.optimizer.learning_rate,)),
        "paper": Arm(paper, PAPER_GRID),
        "head": Arm(head, ADAMW_GRID),
    }


def five_shot(dataset):
    """Return the test accuracy of a linear classifier on the starter's features from five photos per class, in three draws."""
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
    parser.add_argument("--name", help="name of the result; the name of the data by default")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--work", type=Path, default=Path("runs/transfer"))
    parser.add_argument("--arms", nargs="+", help="measure only these, in the result that there is")
    parser.add_argument("--five-shot", action="store_true")
    arguments = parser.parse_args()
    name = arguments.name or Path(arguments.data).name
    # NAME in capitals instead of a path, which has no meaning on another machine.
    data = name if name == arguments.data else f"{name.upper()} --name {name}"
    dataset = open_dataset(arguments.data)
    if arguments.five_shot:
        file = RESULTS / f"{name}.json"
        command = f"python -m experiments.transfer.run {data} --five-shot"
        measured_now = {**five_shot(dataset), "environment": {**environment(), "command": command}}
        print("wrote", write_json(file, {**json.loads(file.read_text()), "five_shot": measured_now}))
        return
    measured = {
        key: best_over_seeds(arm.recipe, arm.rates, dataset, arguments.work / name / key, arguments.seeds)
        for key, arm in arms(arguments.epochs).items()
        if key in (arguments.arms or [key])
    }
    seeds = " ".join(map(str, arguments.seeds))
    command = f"python -m experiments.transfer.run {data} --epochs {arguments.epochs} --seeds {seeds}"
    if arguments.arms:
        file = RESULTS / f"{name}.json"
        result = json.loads(file.read_text())
        origin = {**environment(), "command": f"{command} --arms {' '.join(arguments.arms)}"}
        result["arms"] |= {key: {**figures, "environment": origin} for key, figures in measured.items()}
        print("wrote", write_json(file, result))
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
    print("wrote", record(RESULTS / f"{name}.json", figures, command=command))


if __name__ == "__main__":
    main()
