"""Tables of docs/evaluation.md."""

from statistics import mean

from experiments.tables.markdown import ROOT, caption, percent, points, read, table

from allmlp.metrics import cross_validation_interval, wilson_interval


def few_shot():
    result = read("benchmarks/results/few_shot.json")
    counts = ("examples", "classes", "photos scored")
    times = ("seconds (median)", "CPU seconds", "seconds to solve the normal equations 31 times, without leave-one-out")
    rows = []
    for case in result["cases"]:
        numbers = [case["num_examples"], case["num_classes"], case["num_scored"]]
        seconds = [case["seconds"]["median"], case["processor_seconds"]["median"], case["normal_equations_seconds"]]
        rows.append([*(f"{number:,}" for number in numbers), *(f"{value:.1f}" for value in seconds)])
    return (
        f"{result['num_features']} features, {result['num_penalties']} regularisations, leave-one-out for each:\n\n"
        f"{table((*counts, *times), rows)}\nThe scores differ from NumPy's solution of the normal equations by at most "
        f"{max(result['largest_difference'].values()):.0e} of the largest score. {caption(result)}"
    )


def interval_of(draw):
    """Return the interval that a run reports today for the score of a draw: draws may be older than the rule."""
    num_correct = round(draw["top1"] * draw["scored"])
    if draw["scored_by"] == "cross-validation":
        return cross_validation_interval(num_correct, draw["scored"], draw.get("folds", 5))
    return wilson_interval(num_correct, draw["scored"])


def num_contained(draws):
    intervals = map(interval_of, draws)
    return sum(low <= draw["unseen_top1"] <= high for (low, high), draw in zip(intervals, draws, strict=True))


def mean_width(draws):
    return f"{100 * mean(high - low for low, high in map(interval_of, draws)):.1f}"


def honesty():
    result = read("experiments/honesty/results/trained-blocks-0.json")
    draws = result["draws"]
    rows = []
    for size in dict.fromkeys(draw["size"] for draw in draws):
        chosen = [draw for draw in draws if draw["size"] == size]
        scored = {"cross-validation": "cross-validated"}.get(chosen[0]["scored_by"], "a tenth held out once")
        rows.append(
            (
                *(f"{size:,}", scored),
                f"{num_contained(chosen)} of {len(chosen)}",
                mean_width(chosen),
                points(result["unseen_minus_reported"][str(size)]),
            )
        )
    columns = (
        "photos drawn",
        "scored by",
        "interval contains the unseen accuracy",
        "width, points",
        "unseen minus reported, points",
    )
    names = ", ".join(dict.fromkeys(draw["data"] for draw in draws))
    return (
        f"In {num_contained(draws)} of {len(draws)} draws, the 95 % interval that `finetune --trained-blocks 0` reports "
        f"contains the accuracy on up to {max(draw['unseen'] for draw in draws):,} photos that it never saw "
        f"({names}; mean ± std):\n\n"
        f"{table(columns, rows)}\n{caption(result)}" + few_photos()
    )


def few_photos():
    """Return the sentence on the runs of one size in which all blocks were trained; nothing if they were not made."""
    path = "experiments/honesty/results/few.json"
    if not (ROOT / path).exists():
        return ""
    result = read(path)
    draws = result["draws"]
    (size,) = result["width"]
    scored = "cross-validated" if draws[0]["scored_by"] == "cross-validation" else "with a tenth held out once"
    return (
        f"\nThe same with all blocks trained, {size} photos of {draws[0]['classes']} classes ({draws[0]['data']}), {scored}: "
        f"{num_contained(draws)} of {len(draws)} intervals contain the unseen accuracy; they are "
        f"{mean_width(draws)} points wide, and it is "
        f"{points(result['unseen_minus_reported'][size])} points from the reported one. {caption(result)}"
    )


def unknown():
    path = "experiments/unknown/results/unknown.json"
    if not (ROOT / path).exists():
        return "Not measured yet: `python -m experiments.unknown.run` writes the figures.\n"
    result = read(path)
    names = {
        "closeness": "closeness",
        "mahalanobis": "distance to class means",
        "neighbours": "10th neighbour",
        "energy": "energy",
        "logit": "largest logit",
        "probability": "largest probability",
    }
    rows = []
    for known, other in dict.fromkeys((row["known"], row["unknown"]) for row in result["table"]):
        found = {row["score"]: row for row in result["table"] if (row["known"], row["unknown"]) == (known, other)}
        chosen = found["closeness"]
        rows.append(
            (
                *(known, other),
                *(f"{found[score]['auroc']['mean']:.3f}" for score in names),
                *(percent(chosen["known_kept"]), percent(chosen["unknown_found"])),
            )
        )
    columns = ("known", "unknown", *names.values(), "known kept, %", "unknown found, %")
    most, largest = (max(run[name] for run in result["runs"]) for name in ("validation", "train"))
    seeds = len({run["seed"] for run in result["runs"]})
    return (
        f"AUROC on test photos (0.5: chance, 1: told apart without error; mean of {seeds} "
        f"seeds), for the starter with a new classifier trained on up to {largest:,} photos. "
        f"The last two columns are those of closeness with its threshold, fitted on at most {most} photos "
        f"(mean ± std):\n\n{table(columns, rows)}\n{caption(result)}"
    )


def best_weights():
    path = "experiments/best_weights/results/best_weights.json"
    if not (ROOT / path).exists():
        return "Not measured yet: `python -m experiments.best_weights.run` writes the figures.\n"
    result = read(path)
    draws = result["runs"]
    names = {"top1": "highest validation top-1", "loss": "lowest validation loss", "last": "last epoch"}
    rows = [
        (names.get(rule, "last epoch, weights not averaged"), percent(figures), points(result["minus_last"][rule]))
        for rule, figures in result["unseen_top1"].items()
    ]
    return (
        f"Top-1 % on unseen photos of the weights that a rule chooses, {len(draws)} draws from "
        f"{', '.join(dict.fromkeys(draw['data'] for draw in draws))}, {min(draw['held_out'] for draw in draws)} or more "
        f"photos held out (mean ± std):\n\n{table(('weights', 'unseen top-1 %', 'minus the last, points'), rows)}\n"
        f"{caption(result)}"
    )


TABLES = {"few_shot": few_shot, "honesty": honesty, "best_weights": best_weights, "unknown": unknown}
