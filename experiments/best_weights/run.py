"""Which weights are the best on few validation photos: those of the best epoch by top-1, by loss, the last, averaged or not?

    python -m experiments.best_weights.run cifar10=CIFAR10 clothing=CLOTHING flowers=FLOWER_PHOTOS
        [--size 400] [--seeds 0 1 2 3 4] [--unseen 2000] [--work runs/best_weights]

Each draw of photos is fine-tuned with a tenth held out, by recipe `finetune` with its defaults. The rules choose among the
weights of one run: the moving average after the epoch with the highest validation top-1, with the lowest validation loss, after
the last epoch, and the last weights themselves. (If the lowest loss is in an epoch of its own, the same run is made again by
that rule.)
The question is the accuracy on unseen photos, averaged over draws and data sets. Draws that are finished in --work are not
repeated; without all of them, no result is written.
"""

import argparse
import csv
import dataclasses
from pathlib import Path

from experiments.draws import draw, once
from safetensors.torch import load_file

from allmlp import evaluate, load_checkpoint, train
from allmlp.provenance import record, spread
from allmlp.recipes import finetune_for

RESULTS = Path(__file__).parent / "results"
RULES = ("top1", "loss", "last", "last, not averaged")


def measured(name, source, size, seed, folder, max_unseen):
    """Fine-tune one draw and return the figures of every rule."""
    photos, unseen = draw(source, size, seed, max_unseen=max_unseen)
    recipe, _ = finetune_for(photos)
    recipe = dataclasses.replace(recipe, best_by="top1", seed=seed, data=dataclasses.replace(recipe.data, folds=0))
    result = train(recipe, photos, folder, resume=True)
    with (folder / "results.csv").open(newline="") as file:
        epochs = list(csv.DictReader(file))
    lowest = float(min(epochs, key=lambda row: float(row["validation_loss"]))["epoch"])
    chosen = {"top1": result.best_epoch, "loss": lowest, "last": float(epochs[-1]["epoch"])}

    last = load_checkpoint(folder / "checkpoints" / "last")
    state = load_file(max((folder / "resume").glob("step-*")) / "state.safetensors")
    weights = {name: state[f"model/{name}"] for name in last.weights}
    top1 = {
        "top1": unseen_top1(folder, unseen),
        "last": unseen_top1(last, unseen),
        "last, not averaged": unseen_top1(dataclasses.replace(last, weights=weights), unseen),
    }
    same = next((rule for rule in ("top1", "last") if chosen[rule] == chosen["loss"]), None)
    if same is None:
        by_loss = folder.with_name(f"{folder.name}-loss")
        train(dataclasses.replace(recipe, best_by="loss"), photos, by_loss, resume=True)
        top1["loss"] = unseen_top1(by_loss, unseen)
    else:
        top1["loss"] = top1[same]
    return {
        "data": name,
        "seed": seed,
        "held_out": result.evaluations["validation"].num_examples,
        "num_epochs": result.recipe.num_epochs,
        "chosen_epoch": chosen,
        "validation_top1": result.evaluations["validation"].top1,
        "unseen_top1": top1,
    }


def unseen_top1(source, unseen):
    """Return the accuracy of a run or a checkpoint on photos that it never saw."""
    return evaluate(source, unseen, split="test").top1


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", nargs="+", metavar="NAME=PHOTOS")
    parser.add_argument("--size", type=int, default=400)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--unseen", type=int, default=2000)
    parser.add_argument("--work", type=Path, default=Path("runs/best_weights"))
    parser.add_argument("--result", type=Path, default=RESULTS / "best_weights.json")
    arguments = parser.parse_args()
    sources = dict(item.split("=", 1) for item in arguments.data)
    size, unseen = arguments.size, arguments.unseen
    runs = [
        once(
            (run := arguments.work / f"{name}-{seed}").with_suffix(".json"),
            *(measured, name, source, size, seed, run, unseen),
        )
        for seed in arguments.seeds
        for name, source in sources.items()
    ]
    top1 = {rule: [run["unseen_top1"][rule] for run in runs] for rule in RULES}
    figures = {
        "runs": runs,
        "unseen_top1": {rule: spread(values) for rule, values in top1.items()},
        "minus_last": {
            rule: spread([value - other for value, other in zip(values, top1["last"], strict=True)])
            for rule, values in top1.items()
        },
    }
    words = " ".join(f"{name}={name.upper()}" for name in sources)
    command = (
        f"python -m experiments.best_weights.run {words} --size {arguments.size} --seeds {' '.join(map(str, arguments.seeds))} "
        f"--unseen {arguments.unseen}"
    )
    print({rule: round(values["mean"], 4) for rule, values in figures["unseen_top1"].items()})
    print("wrote", record(arguments.result, figures, command=command))


if __name__ == "__main__":
    main()
