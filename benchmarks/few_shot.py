"""Time of linear few-shot evaluation, 31 penalties from one decomposition, and its difference from NumPy's normal equations.

    python benchmarks/few_shot.py

Each case is one draw of `allmlp evaluate --shots`, from features to the curve: leave-one-out for every penalty, and scoring.
For comparison, the normal equations, which this replaces, are solved for every penalty. Features are drawn from a normal
distribution around one mean per class.
"""

import argparse
import time
from pathlib import Path

import numpy as np

from allmlp.metrics import PENALTIES, FewShotOptions, LabelledFeatures, few_shot
from allmlp.provenance import record, spread

RESULT = Path(__file__).parent / "results" / "few_shot.json"

# classes, examples per class, photos to score
CASES = ((10, 5_000, 10_000), (100, 500, 1_000), (1_000, 5, 10_000))


def synthetic_features(num_classes, per_class, num_features, seed):
    """Return features (n, d), float32, and labels (n,)."""
    generator = np.random.default_rng(seed)
    means = np.random.default_rng(0).standard_normal((num_classes, num_features), dtype=np.float32)
    labels = np.repeat(np.arange(num_classes), per_class)
    noise = generator.standard_normal((len(labels), num_features), dtype=np.float32)
    return 0.2 * means[labels] + noise, labels


def normal_equations(features, labels, scored, num_classes):
    """Yield the scores of every penalty, with standardisation as in the authors' evaluator."""
    features = features.astype(np.float64)
    mean, std = features.mean(axis=0), features.std(axis=0) + 1e-5

    def design(x):
        return np.concatenate([(x - mean) / std, np.full((len(x), 1), 100.0)], axis=1)

    a, y = design(features), 2.0 * np.eye(num_classes)[labels] - 1.0
    squares, products, unit = a.T @ a, a.T @ y, np.eye(a.shape[1])
    b = design(scored)
    for penalty in PENALTIES:
        yield b @ np.linalg.solve(squares + penalty * unit, products)


def largest_difference(num_features, num_examples, num_classes):
    """Return the largest difference between our scores and those of the normal equations, relative to the largest score."""
    from allmlp.metrics.ridge import decompose

    features, labels = synthetic_features(num_classes, num_examples // num_classes, num_features, 1)
    scored, _ = synthetic_features(num_classes, 20, num_features, 2)
    ridge = decompose(features, 2.0 * np.eye(num_classes)[labels] - 1.0)
    actual = np.empty((len(PENALTIES), len(scored), num_classes))
    for rows, group, scores in ridge.scores(scored, np.array(PENALTIES)):
        actual[group, rows] = scores
    expected = normal_equations(features, labels, scored.astype(np.float64), num_classes)
    return max(
        float(np.abs(ours - reference).max() / np.abs(reference).max())
        for ours, reference in zip(actual, expected, strict=True)
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--features", type=int, default=768)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--record", type=Path, default=RESULT)
    arguments = parser.parse_args()

    d = arguments.features
    figures = {"num_features": d, "num_penalties": len(PENALTIES), "cases": []}
    figures["largest_difference"] = {
        f"{n} x {d}": largest_difference(d, n, 10) for n in (50, d - d % 10, 5_000, 50_000)
    }
    for num_classes, per_class, num_scored in CASES:
        features, labels = synthetic_features(num_classes, per_class, d, 1)
        scored, truths = synthetic_features(num_classes, num_scored // num_classes, d, 2)
        seconds, processor_seconds = [], []
        for _ in range(arguments.turns):
            start, processor = time.perf_counter(), time.process_time()
            names = [str(index) for index in range(num_classes)]
            sample_ids = [str(index) for index in range(len(labels))]
            (result,) = few_shot(
                LabelledFeatures(features, labels, sample_ids),
                LabelledFeatures(scored, truths),
                names,
                FewShotOptions(shots=(per_class,), num_draws=1),
            )
            seconds.append(time.perf_counter() - start)
            processor_seconds.append(time.process_time() - processor)
        start = time.perf_counter()
        for _ in normal_equations(features, labels, scored, num_classes):
            pass
        figures["cases"].append(
            {
                "num_examples": len(labels),
                "num_classes": num_classes,
                "num_scored": num_scored,
                "seconds": spread(seconds),
                # The sum over all threads, which other load on the machine does not affect.
                "processor_seconds": spread(processor_seconds),
                "normal_equations_seconds": round(time.perf_counter() - start, 2),
                "top1": result.mean,
                "chosen_penalty": result.draws[0].chosen_penalty,
            }
        )
        print(
            f"{len(labels)} x {d}, {num_classes} classes, {num_scored} scored: {figures['cases'][-1]['seconds']['median']} s"
        )
    command = f"python benchmarks/few_shot.py --turns {arguments.turns}"
    print("wrote", record(arguments.record, figures, command=command))


if __name__ == "__main__":
    main()
