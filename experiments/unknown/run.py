"""How well scores tell photos of unknown classes from those of known ones, and what share a threshold keeps and finds.

    python -m experiments.unknown.run clothing=CLOTHING flowers102=FLOWERS102 cifar10=CIFAR10
        [--known clothing cifar10] [--seeds 2] [--trained-blocks 0] [--passes 2] [--photos 800] [--scored 1000]
        [--work runs/unknown]

For each data set of --known, the starter is fine-tuned on at most --photos photos of all its classes, and of a
random half of its classes. Unknown are the photos of the other data sets ("far"), and those of the other half ("near").
Thresholds are fitted on the known validation photos, of which they keep 95 %; everything is scored on test photos.
"closeness" is what `predict` uses: a normal distribution of the features of validation photos, and a threshold on photos that
were left out of it.
Scores of logits: energy (Liu et al., arXiv 2010.03759, with the sign turned), the largest probability (Hendrycks and Gimpel,
arXiv 1610.02136), the largest logit. Scores of features: Mahalanobis' distance to the nearest
class mean with one covariance, and the cosine similarity to the tenth-nearest training photo. Parts that are finished in
--work are not repeated. By default only the classifier is trained, on the features of --passes passes over the photos.
"""

import argparse
import dataclasses
from pathlib import Path

import numpy as np
from experiments.draws import once
from scipy.special import logsumexp

from allmlp import Embedder, open_model, train
from allmlp.data import ImageDataset, open_dataset, split_batches
from allmlp.metrics import auroc, closeness, fit_closeness, fit_threshold, held_out_closeness, softmax
from allmlp.provenance import record, spread
from allmlp.recipes import finetune_for

RESULTS = Path(__file__).parent / "results"
KEPT = 0.95
NEIGHBOUR = 10

LOGIT_SCORES = {
    "energy": lambda logits: logsumexp(logits.astype(np.float64), axis=-1),
    "probability": lambda logits: softmax(logits).max(axis=-1),
    "logit": lambda logits: logits.max(axis=-1).astype(np.float64),
}


def part(split, classes, number, random):
    """Return at most `number` photos of some classes of a split, whose labels are counted from 0."""
    rows = random.permutation(np.flatnonzero(np.isin(split.labels, classes)))[:number]
    chosen = split.subset(np.sort(rows))
    new = {int(label): index for index, label in enumerate(classes)}
    return dataclasses.replace(chosen, labels=np.array([new[int(label)] for label in chosen.labels], np.int64))


def known_dataset(source, classes, number, scored, seed):
    """Return a data set of some classes with the splits train, validation (a quarter as many) and test."""
    dataset = open_dataset(source)
    random = np.random.default_rng(seed)
    splits = {}
    train_photos = part(dataset.splits["train"], classes, number + number // 4, random)
    rows = random.permutation(len(train_photos))
    cut = len(rows) - len(rows) // 5
    splits["train"], splits["validation"] = (train_photos.subset(np.sort(r)) for r in (rows[:cut], rows[cut:]))
    splits["test"] = part(dataset.splits["test"], classes, scored, random)
    return ImageDataset(tuple(dataset.class_names[label] for label in classes), splits, dataset.source)


def readings(run, split):
    """Return the logits and the features of the photos of a split."""
    features = Embedder(open_model(run, output="features", device="cpu")).embed_split(split)
    model = open_model(run, device="cpu")
    batches = split_batches(split, split.labels * 0, model.preparation, num_classes=1, batch_size=64)
    return np.concatenate([model.forward(batch.images[batch.mask]) for batch in batches]), features


def feature_scores(train_features, labels):
    """Return functions from features (n, C) to scores (n,), fitted on training photos."""
    means = np.stack([train_features[labels == label].mean(axis=0) for label in np.unique(labels)])
    residuals = train_features - means[np.searchsorted(np.unique(labels), labels)]
    precision = np.linalg.pinv(np.cov(residuals.T.astype(np.float64)))
    units = train_features / np.linalg.norm(train_features, axis=1, keepdims=True)

    def mahalanobis(features):
        offsets = features[:, None].astype(np.float64) - means
        return -np.einsum("nkc,cd,nkd->nk", offsets, precision, offsets, optimize=True).min(axis=1)

    def neighbours(features):
        similarity = (features / np.linalg.norm(features, axis=1, keepdims=True)) @ units.T
        return np.sort(similarity, axis=1)[:, -NEIGHBOUR].astype(np.float64)

    return {"mahalanobis": mahalanobis, "neighbours": neighbours}


def measured(name, half, seed, sources, folder, arguments):
    """Fine-tune on the known classes and return the figures of every score and every kind of unknown photos."""
    num_classes = len(open_dataset(sources[name]).class_names)
    order = np.random.default_rng(seed).permutation(num_classes)
    classes = np.sort(order[: num_classes // 2]) if half else np.arange(num_classes)
    photos = known_dataset(sources[name], classes, arguments.photos, arguments.scored, seed)
    recipe, _ = finetune_for(photos)
    transfer = dataclasses.replace(
        recipe.transfer, trained_blocks=arguments.trained_blocks, cached_passes=arguments.passes
    )
    run = train(dataclasses.replace(recipe, seed=seed, transfer=transfer), photos, folder, resume=True)
    random = np.random.default_rng(seed)
    if half:
        others = np.setdiff1d(np.arange(num_classes), classes)
        unknown = {
            "its other classes": part(open_dataset(sources[name]).splits["test"], others, arguments.scored, random)
        }
    else:
        unknown = {}
        for other, source in sources.items():
            if other != name:
                split = open_dataset(source).splits["test"]
                unknown[other] = split.subset(np.sort(random.permutation(len(split))[: arguments.scored]))
    read = {split: readings(folder, photos.splits[split]) for split in ("train", "validation", "test")}
    read_unknown = {other: readings(folder, split) for other, split in unknown.items()}
    scores = {score: (0, function) for score, function in LOGIT_SCORES.items()}
    fitted = feature_scores(read["train"][1], photos.splits["train"].labels)
    scores |= {score: (1, function) for score, function in fitted.items()}
    statistics = fit_closeness(read["validation"][1])
    scores["closeness"] = (1, lambda features: closeness(features, statistics))
    rows = []
    for score, (which, function) in scores.items():
        validation = read["validation"][which]
        held_out = held_out_closeness(validation) if score == "closeness" else function(validation)
        threshold = fit_threshold(held_out, kept=KEPT)
        known = function(read["test"][which])
        for other, values in read_unknown.items():
            found = function(values[which])
            rows.append(
                {
                    "known": name,
                    "unknown": other,
                    "score": score,
                    "auroc": auroc(known, found),
                    "known_kept": float((known >= threshold).mean()),
                    "unknown_found": float((found < threshold).mean()),
                    "photos": [len(known), len(found)],
                }
            )
    return {
        "known": name,
        "half": half,
        "seed": seed,
        "train": len(photos.splits["train"]),
        "validation": len(photos.splits["validation"]),
        "top1": run.evaluations["test"].top1,
        "rows": rows,
    }


def summary(runs):
    """Return the mean and the spread over the seeds for each pair of known and unknown photos, and each score."""
    rows = [row for run in runs for row in run["rows"]]
    keys = dict.fromkeys((row["known"], row["unknown"], row["score"]) for row in rows)
    table = []
    for key in keys:
        chosen = [row for row in rows if (row["known"], row["unknown"], row["score"]) == key]
        figures = {name: spread([row[name] for row in chosen]) for name in ("auroc", "known_kept", "unknown_found")}
        table.append({**dict(zip(("known", "unknown", "score"), key, strict=True)), **figures})
    return table


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", nargs="+", metavar="NAME=PHOTOS")
    parser.add_argument("--known", nargs="+", default=["clothing", "cifar10"])
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--trained-blocks", type=int, default=0)
    parser.add_argument("--passes", type=int, default=2)
    parser.add_argument("--photos", type=int, default=800)
    parser.add_argument("--scored", type=int, default=1000)
    parser.add_argument("--work", type=Path, default=Path("runs/unknown"))
    parser.add_argument("--result", type=Path, default=RESULTS / "unknown.json")
    arguments = parser.parse_args()
    sources = dict(item.split("=", 1) for item in arguments.data)
    runs = [
        once(
            (folder := arguments.work / f"{name}-{'half' if half else 'all'}-{seed}").with_suffix(".json"),
            *(measured, name, half, seed, sources, folder, arguments),
        )
        for seed in range(arguments.seeds)
        for name in arguments.known
        for half in (False, True)
    ]
    words = [
        *(f"{name}={name.upper()}" for name in sources),
        *("--known", *arguments.known, "--seeds", arguments.seeds),
        *("--trained-blocks", arguments.trained_blocks, "--passes", arguments.passes),
        *("--photos", arguments.photos, "--scored", arguments.scored),
    ]
    command = f"python -m experiments.unknown.run {' '.join(map(str, words))}"
    print("wrote", record(arguments.result, {"kept": KEPT, "runs": runs, "table": summary(runs)}, command=command))


if __name__ == "__main__":
    main()
