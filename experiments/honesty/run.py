"""Whether the reported interval contains the accuracy on unseen photos: `finetune` as a user with few photos runs it.

    python -m experiments.honesty.run cifar10=CIFAR10 clothing=CLOTHING flowers=FLOWER_PHOTOS
        [--sizes 100 300 1000] [--draws 5] [--unseen 2000] [--trained-blocks N] [--work runs/honesty]

Claim: in at least 90 % of the draws, the 95 % interval that the run reports contains the accuracy on photos that it never saw.
Each draw takes photos at random and fine-tunes the starter with the defaults of `allmlp finetune`: cross-validated or held out
once, as it decides itself. --trained-blocks 0 trains only the classifier, which takes a tenth of the time. Draws that are
finished in --work are not repeated; without all of them, no result is written. "known_kept" is the share of the unseen photos
that the model's threshold of "unknown", if it has one, keeps known; it should be about 95 %.
"""

import argparse
import dataclasses
from pathlib import Path

from experiments.draws import draw, once

from allmlp import Embedder, evaluate, load_checkpoint, open_model, train
from allmlp.data import default_split
from allmlp.metrics import closeness
from allmlp.provenance import record, spread
from allmlp.recipes import finetune_for

RESULTS = Path(__file__).parent / "results"


def known_kept(run, split):
    """Return the share of the photos of a split that a run's model does not call "unknown"; None without a threshold."""
    rule = load_checkpoint(run).unknown
    if rule is None:
        return None
    features = Embedder(open_model(run, output="features")).embed_split(split)
    return float((closeness(features, rule.matrix(features.shape[1])) >= rule.threshold).mean())


def measured(name, source, size, seed, trained_blocks, folder, max_unseen):
    """Fine-tune on one draw and return what its report says, and the accuracy on unseen photos."""
    photos, unseen = draw(source, size, seed, max_unseen=max_unseen)
    recipe, _ = finetune_for(photos)
    recipe = dataclasses.replace(recipe, transfer=dataclasses.replace(recipe.transfer, trained_blocks=trained_blocks))
    result = train(recipe, photos, folder, resume=True)
    split = default_split(result.evaluations)
    metrics = result.evaluations[split]
    low, high = metrics.top1_interval
    scores = evaluate(folder, unseen, split="test")
    return {
        "data": name,
        "size": size,
        "seed": seed,
        "classes": len(photos.class_names),
        "scored_by": split,
        "scored": metrics.num_examples,
        "folds": metrics.num_folds,
        "top1": metrics.top1,
        "low": low,
        "high": high,
        "unseen": scores.num_examples,
        "unseen_top1": scores.top1,
        "contained": low <= scores.top1 <= high,
        "known_kept": known_kept(folder, unseen.splits["test"]),
        "minutes": round(result.seconds / 60, 2),
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", nargs="+", metavar="NAME=PHOTOS")
    parser.add_argument("--sizes", type=int, nargs="+", default=[100, 300, 1000])
    parser.add_argument("--draws", type=int, default=5)
    parser.add_argument("--unseen", type=int, default=2000)
    parser.add_argument("--trained-blocks", type=int)
    parser.add_argument("--work", type=Path, default=Path("runs/honesty"))
    parser.add_argument("--result", type=Path)
    arguments = parser.parse_args()
    unseen, blocks = arguments.unseen, arguments.trained_blocks
    result = arguments.result or RESULTS / ("honesty.json" if blocks is None else f"trained-blocks-{blocks}.json")
    sources = dict(item.split("=", 1) for item in arguments.data)
    draws = [
        once(
            (run := arguments.work / f"{name}-{size}-{seed}").with_suffix(".json"),
            *(measured, name, source, size, seed, blocks, run, unseen),
        )
        for size in arguments.sizes
        for seed in range(arguments.draws)
        for name, source in sources.items()
    ]
    figures = {
        "draws": draws,
        "contained": sum(each["contained"] for each in draws),
        "total": len(draws),
        "width": {
            str(size): spread([each["high"] - each["low"] for each in draws if each["size"] == size])
            for size in arguments.sizes
        },
        "unseen_minus_reported": {
            str(size): spread([each["unseen_top1"] - each["top1"] for each in draws if each["size"] == size])
            for size in arguments.sizes
        },
    }
    words = [
        *(f"{name}={name.upper()}" for name in sources),
        *("--sizes", *arguments.sizes, "--draws", arguments.draws, "--unseen", unseen),
        *([] if blocks is None else ["--trained-blocks", blocks]),
    ]
    command = f"python -m experiments.honesty.run {' '.join(map(str, words))}"
    print(f"the interval contains the unseen accuracy in {figures['contained']} of {figures['total']} draws")
    print("wrote", record(result, figures, command=command))


if __name__ == "__main__":
    main()
