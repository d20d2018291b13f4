"""How many photos should fine-tuning see when there are few: does more training pay?

    python -m experiments.photos_seen.run cifar10=CIFAR10 clothing=CLOTHING flowers=FLOWER_PHOTOS
        [--sizes 100 300] [--seeds 0 1] [--seen 2500 5000 10000 20000] [--unseen 2000] [--work runs/photos_seen]

An epoch sees every photo once. Each draw of photos is fine-tuned by recipe `finetune`, once per number of photos seen, with a
tenth held out, and keeps its last weights; the figure is the accuracy on unseen photos. Runs that are finished in --work are
not repeated; without all of them, no result is written.
"""

import argparse
import dataclasses
from pathlib import Path

from experiments.draws import draw, once

from allmlp import evaluate, train
from allmlp.provenance import record, spread
from allmlp.recipes import finetune_for

RESULTS = Path(__file__).parent / "results"


def measured(name, source, size, seed, seen, folder, max_unseen):
    """Fine-tune one draw on `seen` photos, repeats included, and return the figures."""
    photos, unseen = draw(source, size, seed, max_unseen=max_unseen)
    recipe, _ = finetune_for(photos)
    num_photos = len(photos.splits["train"])
    data = dataclasses.replace(recipe.data, folds=0)
    recipe = dataclasses.replace(
        recipe, num_epochs=max(1, round(seen / num_photos)), best_by="last", seed=seed, data=data
    )
    result = train(recipe, photos, folder, resume=True)
    return {
        "data": name,
        "size": size,
        "seed": seed,
        "seen": seen,
        "num_epochs": result.recipe.num_epochs,
        "minutes": round(result.seconds / 60, 2),
        "unseen_top1": evaluate(folder, unseen, split="test").top1,
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", nargs="+", metavar="NAME=PHOTOS")
    parser.add_argument("--sizes", type=int, nargs="+", default=[100, 300])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--seen", type=int, nargs="+", default=[2500, 5000, 10000, 20000])
    parser.add_argument("--unseen", type=int, default=2000)
    parser.add_argument("--work", type=Path, default=Path("runs/photos_seen"))
    parser.add_argument("--result", type=Path, default=RESULTS / "photos_seen.json")
    arguments = parser.parse_args()
    sources = dict(item.split("=", 1) for item in arguments.data)
    runs = [
        once(
            (run := arguments.work / f"{name}-{size}-{seed}-{seen}").with_suffix(".json"),
            *(measured, name, source, size, seed, seen, run, arguments.unseen),
        )
        for seed in arguments.seeds
        for size in arguments.sizes
        for name, source in sources.items()
        for seen in arguments.seen
    ]
    top1 = {seen: [run["unseen_top1"] for run in runs if run["seen"] == seen] for seen in arguments.seen}
    longest = top1[max(arguments.seen)]
    figures = {
        "runs": runs,
        "unseen_top1": {str(seen): spread(values) for seen, values in top1.items()},
        "minus_longest": {
            str(seen): spread([value - other for value, other in zip(values, longest, strict=True)])
            for seen, values in top1.items()
        },
        "minutes": {str(seen): spread([run["minutes"] for run in runs if run["seen"] == seen]) for seen in top1},
    }
    words = [
        *(f"{name}={name.upper()}" for name in sources),
        *("--sizes", *arguments.sizes, "--seeds", *arguments.seeds, "--seen", *arguments.seen),
        *("--unseen", arguments.unseen),
    ]
    print({seen: round(values["mean"], 4) for seen, values in figures["unseen_top1"].items()})
    print(
        "wrote",
        record(arguments.result, figures, command=f"python -m experiments.photos_seen.run {' '.join(map(str, words))}"),
    )


if __name__ == "__main__":
    main()
