"""Tables of docs/recipes.md."""

from experiments.tables.common import caption, lead, percent, read, table

from allmlp.recipes import DEVIATIONS, RECIPES


def deviations():
    rows = []
    for each in DEVIATIONS:
        names = list(each.applies_to)
        for prefix in ("imagenet", "jft_", "finetune_paper"):
            group = [name for name in RECIPES if name.startswith(prefix)]
            if set(group) <= set(names):
                names = [f"{prefix}*", *(name for name in names if name not in group)]
        rows.append((each.setting, each.ours, each.authors, each.why, ", ".join(f"`{name}`" for name in sorted(names))))
    return table(("setting", "ours", "the authors'", "why", "recipes"), rows)


def balance():
    result = read("experiments/balance/results/balance.json")
    rows = result["rows"]
    runs, scores = rows["plain"]["top1"]["n"], ("top1", "balanced_accuracy", "rare_recall")
    text = table(
        ("", "test top-1 %", "balanced accuracy %", "mean recall of the rare classes %"),
        ((name, *(percent(row[score]) for score in scores)) for name, row in rows.items()),
    )
    return (
        "The embedded clothing photos with every other class reduced to a tenth, recipe `demo`, "
        f"{result['num_epochs']} epochs, {result['num_training']} training photos including the hold-out, "
        f"{'one run each' if runs == 1 else f'{runs} seeds (mean ± std)'}:\n\n{text}\n{caption(result)}"
    )


def optimizers():
    result = read("experiments/optimizers/results/optimizers.json")
    size, cost = result["parameters"] / 1e6, result["milliseconds_a_pass"]
    arms = sorted(result["arms"].items(), key=lambda item: -item[1]["top1"]["mean"])
    rows = []
    for name, arm in arms:
        settings = (f"{arm['learning_rate']:.2g}", str(arm["num_epochs"]), f"{arm['passes']:,}")
        rows.append((name, *settings, percent(arm["top1"]), f"{cost[name]:.0f}"))
    columns = ("optimizer", "learning rate", "epochs", "passes", "test top-1 %", "ms per pass")
    (first, best), (second, _) = arms[:2]
    return (
        f"The Mixer of recipe `cifar10` ({size:.2f} M parameters) on {result['photos']:,} photos of CIFAR-10, batch size "
        f"{result['batch_size']}, {best['runs'][0]['precision']}, {best['top1']['n']} seeds (mean ± std), learning rates "
        f"chosen on held-out photos:\n\n{table(columns, rows)}\n"
        "For the same number of forward and backward passes, "
        f"{first} outperforms {second} by {lead(result['arms'], first, second)}; a pass takes "
        f"{cost[first] / cost[second]:.2f} times as long. {caption(result)}"
    )


TABLES = {"balance": balance, "deviations": deviations, "optimizers": optimizers}
