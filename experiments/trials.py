"""Method shared by several experiments: choose a learning rate on validation photos at one seed, then train at other seeds."""

import dataclasses
import json

from allmlp.provenance import spread
from allmlp.training import NoProgress, stored_run, train_sweep


def best_over_seeds(recipe, rates, dataset, folder, seeds):
    """Return the figures of a recipe at its best learning rate, which the first seed chooses; that seed counts, too.

    While the best rate is at an end of several rates, the next rate beyond that end is tried, in a geometric sequence. Runs of
    the same recipe on the same photos that are finished in `folder` are not repeated; other runs there raise an error.
    """
    trials = trained(recipe, rates, dataset, folder, seeds[0])
    best = next(iter(trials))
    factor = sorted(rates)[1] / min(rates) if len(rates) > 1 else 1.0
    tried = {*rates, *trials}  # includes rates that diverged, which are not among the trials
    while len(tried) > 1 and best in (min(tried), max(tried)):
        further = float(f"{best / factor if best == min(tried) else best * factor:.3g}")
        tried.add(further)
        trials = trained(recipe, [further], dataset, folder, seeds[0])  # includes the previous trials
        best = next(iter(trials))
    runs = [{"seed": seeds[0], **trials[best]}]
    runs += [{"seed": seed, **trained(recipe, [best], dataset, folder, seed)[best]} for seed in seeds[1:]]
    return {
        "learning_rate": best,
        "grid": [{"learning_rate": rate, **figures} for rate, figures in sorted(trials.items())],
        "top1": spread([run["test"] for run in runs]),
        "balanced_accuracy": spread([run["test_balanced"] for run in runs]),
        "minutes": spread([run["minutes"] for run in runs]),
        "runs": runs,
    }


def trained(recipe, rates, dataset, folder, seed):
    """Train at each learning rate with one seed; return the figures, including earlier calls, best on validation first."""
    recipe = dataclasses.replace(recipe, seed=seed)
    trials = train_sweep(
        recipe, dataset, folder / f"seed-{seed}", rates, device="auto", progress=NoProgress(), resume=True
    )
    return {trial.learning_rate: figures(trial.run) for trial in trials if trial.top1 is not None}  # the rest diverged


def figures(run):
    """Read the results of a run."""
    facts = json.loads((run / "metrics.json").read_text())
    scores = {split: facts["evaluations"][split]["top1"] for split in ("validation", "test")}
    print(run, scores, flush=True)
    return {
        **scores,
        "test_balanced": facts["evaluations"]["test"]["balanced_accuracy"],
        "minutes": round(facts["seconds"] / 60, 2),
        "num_steps": facts["num_steps"],
        "best_epoch": facts["best_epoch"],
        "precision": stored_run(run).recipe.precision,
    }
