"""Which epoch's weights are the best on few validation photos: by top-1, by loss, or the last ones?

    python -m experiments.best_weights.run cifar10=CIFAR10 clothing=CLOTHING flowers=FLOWER_PHOTOS
        [--size 400] [--seeds 0 1 2 3 4] [--unseen 2000] [--work runs/best_weights]

Each draw of photos is fine-tuned once per rule, with a tenth held out, by recipe `finetune` with its defaults; the runs differ
in nothing but the epoch that is kept. The question is the accuracy on unseen photos, averaged over draws and data sets. Runs
that are finished in --work are not repeated; without all of them, no result is written.
"""

import argparse
import dataclasses
from pathlib import Path

from experiments.draws import draw, once

from allmlp import evaluate, train
from allmlp.provenance import record, spread
from allmlp.recipes import finetune_for

RESULTS = Path(__file__).parent / "results"
RULES = ("top1", "loss", "last")


def measured(name, source, size, seed, rule, folder, max_unseen):
    """Fine-tune one draw by one rule and return the figures."""
    photos, unseen = draw(source, size, seed, max_unseen=max_unseen)
    recipe, _ = finetune_for(photos)
    recipe = dataclasses.replace(recipe, best_by=rule, seed=seed, data=dataclasses.replace(recipe.data, folds=0))
    result = train(recipe, photos, folder, resume=True)
    return {
        "data": name,
        "seed": seed,
        "rule": rule,
        "held_out": result.evaluations["validation"].num_examples,
        "best_epoch": result.best_epoch,
        "num_epochs": result.recipe.num_epochs,
        "validation_top1": result.evaluations["validation"].top1,
        "unseen_top1": evaluate(folder, unseen, split="test").top1,
    }


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
            (run := arguments.work / f"{name}-{seed}-{rule}").with_suffix(".json"),
            *(measured, name, source, size, seed, rule, run, unseen),
        )
        for seed in arguments.seeds
        for name, source in sources.items()
        for rule in RULES
    ]
    top1 = {rule: [run["unseen_top1"] for run in runs if run["rule"] == rule] for rule in RULES}
    figures = {
        "runs": runs,
        "unseen_top1": {rule: spread(values) for rule, values in top1.items()},
        "minus_top1_rule": {
            rule: spread([value - other for value, other in zip(values, top1["top1"], strict=True)])
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
