"""Tables of docs/transfer.md."""

import itertools

from experiments.tables.markdown import ROOT, caption, lead, percent, points, read, table

from allmlp.provenance import spread

TRANSFER_ARMS = {
    "scratch": "from scratch, recipe `demo` with the same Mixer",
    "ours": "fine-tuned, recipe `finetune` unchanged",
    "paper": "fine-tuned as in the paper, with our batch size",
    "head": "only the classifier trained, recipe `finetune`",
}


def frozen_features():
    result = read("benchmarks/results/frozen_features.json")
    seconds = {name: values["median"] for name, values in result["seconds_per_epoch"].items()}
    first = seconds["while the passes are computed"]
    return (
        f"An epoch of the {result['photos']:,} embedded clothing photos (hold-out included) from the starter, with its "
        f"validation, takes {first:.1f} s while a pass is computed and {seconds['cached']:.2f} s afterwards; without a cache, "
        f"every epoch takes {seconds['computed']:.1f} s (medians, on a machine with other load). {caption(result)}"
    )


def transfer():
    results = [
        (title, read(f"experiments/transfer/results/{name}.json"))
        for title, name in (("Clothing (embedded)", "clothing"), ("Flowers-102", "flowers102"))
    ]
    drawn = {"Flowers-102": " (20 per class, drawn from the official 6,149)"}
    columns = [column for title, _ in results for column in (f"{title}: learning rate", "test top-1 %")]
    rows = []
    for key, title in TRANSFER_ARMS.items():
        arms = [result["arms"][key] for _, result in results]
        cells = ((f"{arm['learning_rate']:g}", percent(arm["top1"])) for arm in arms)
        rows.append([title, *itertools.chain(*cells)])
    frozen = [cell for _, result in results for cell in ("", percent(result["five_shot"]))]
    rows.append(["linear classifier on the starter's frozen features, 5 photos per class, 3 draws", *frozen])
    photos = "\n".join(
        f"- {title}: {result['num_photos']['train']:,} training photos in {result['num_classes']} classes, "
        f"{result['num_photos']['test']:,} test photos{drawn.get(title, '')}; fine-tuning outperforms training from scratch "
        f"for as many epochs by {lead(result['arms'], 'ours', 'scratch')}{lead_over_paper(result['arms'])}."
        for title, result in results
    )
    runs = results[0][1]["arms"]["ours"]["top1"]["n"]
    return (
        f"{results[0][1]['num_epochs']} epochs each, {runs} seeds (mean ± std), learning rates chosen on validation photos, "
        f"except that recipe `finetune` keeps its own:\n\n{table(('', *columns), rows)}\n{photos}\n\n"
        + "".join(caption(result) + newer_arms(result) for _, result in results)
    )


def lead_over_paper(arms):
    """Return the end of the sentence on the lead over the paper's fine-tuning, if both started from the same starter."""
    if ("environment" in arms["ours"]) != ("environment" in arms["paper"]):
        return ""
    return f" and the paper's fine-tuning by {lead(arms, 'ours', 'paper')}"


def newer_arms(result):
    """Return the origin of the arms that were measured anew, with a newer starter, and name those that were not."""
    measured = [arm for arm in result["arms"].values() if "environment" in arm]
    lines = dict.fromkeys(caption(arm) for arm in measured)
    older = [TRANSFER_ARMS[key] for key, arm in result["arms"].items() if "environment" not in arm and key != "scratch"]
    if lines and older:
        lines[f"An earlier starter: {'; '.join(older)}.\n"] = None
    return "".join(lines)


def photos_seen():
    path = "experiments/photos_seen/results/photos_seen.json"
    if not (ROOT / path).exists():
        return "Not measured yet: `python -m experiments.photos_seen.run` writes the figures.\n"
    result = read(path)
    runs = result["runs"]
    cases = dict.fromkeys((run["data"], run["size"]) for run in runs)

    def mean(data, size, seen):
        chosen = [run for run in runs if (run["data"], run["size"], run["seen"]) == (data, size, seen)]
        return f"{100 * spread([run['unseen_top1'] for run in chosen])['mean']:.1f}"

    columns = [f"{data}, {size:,} photos" for data, size in cases]
    rows = [
        (f"{int(seen):,}", *(mean(*case, int(seen)) for case in cases), points(difference))
        for seen, difference in result["minus_longest"].items()
    ]
    longest = max(int(seen) for seen in result["minus_longest"])
    return (
        f"Top-1 % on unseen photos, the mean of {len({run['seed'] for run in runs})} draws, by the number of photos that "
        f"fine-tuning sees, repeats included:\n\n{table(('photos seen', *columns, f'minus {longest:,}, points'), rows)}\n"
        f"{caption(result)}"
    )


def starter_ablation():
    path = "experiments/starter/results/ablation.json"
    if not (ROOT / path).exists():
        return "Not measured yet: `python -m experiments.starter.ablate` writes the figures.\n"
    result = read(path)
    base = result["arms"]["recipe starter"]["top1"]
    rows = [
        (
            name,
            " + ".join(map(str, arm["num_epochs"])),
            f"{100 * arm['top1']:.1f}",
            f"{100 * (arm['top1'] - base):+.1f}",
        )
        for name, arm in result["arms"].items()
    ]
    return (
        "Top-1 % on Tiny-ImageNet's 10,000 validation photos after short trainings of equal cost, one run each (a standard "
        f"error of 0.5 points):\n\n{table(('', 'epochs', 'top-1 %', 'difference, points'), rows)}\n{caption(result)}"
    )


TABLES = {
    "frozen_features": frozen_features,
    "transfer": transfer,
    "photos_seen": photos_seen,
    "starter_ablation": starter_ablation,
}
