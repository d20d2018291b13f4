"""Whether two runs are one: everything that a run leaves, but for how long it took."""

import json
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file

TIMELESS = slice(0, 2), slice(3, 8)  # the columns of results.csv without seconds and speed


def final_state(run: Path) -> dict[str, np.ndarray]:
    """Return everything that the last save of a run holds: weights, their average, what the optimizer remembers."""
    return load_file(max((run / "resume").glob("step-*")) / "state.safetensors")


def differences(run: Path, other: Path) -> list[str]:
    """Return what differs between two finished runs, bit for bit; nothing when they are the same."""
    mine, theirs = final_state(run), final_state(other)
    found = [f"only one has {name}" for name in sorted(mine.keys() ^ theirs.keys())]
    found += [name for name in sorted(mine.keys() & theirs.keys()) if not _same_bits(mine[name], theirs[name])]
    metrics, others = (json.loads((path / "metrics.json").read_text()) for path in (run, other))
    found += [
        name for name in ("sample_digest", "evaluations", "num_skipped", "temperature") if metrics[name] != others[name]
    ]
    for name in ("best/model.safetensors", "best/config.json", "last/model.safetensors", "last/config.json"):
        file = Path("checkpoints") / name
        found += [str(file)] * ((run / file).read_bytes() != (other / file).read_bytes())
    return found + ["results.csv"] * (_results(run) != _results(other))


def assert_same_run(run: Path, other: Path) -> None:
    """Check that two finished runs are the same, bit for bit."""
    assert not differences(run, other)


def _same_bits(mine: np.ndarray, theirs: np.ndarray) -> bool:
    return mine.dtype == theirs.dtype and mine.shape == theirs.shape and mine.tobytes() == theirs.tobytes()


def _results(run: Path) -> list[list[str]]:
    lines = [line.split(",") for line in (run / "results.csv").read_text().splitlines()]
    return [line[TIMELESS[0]] + line[TIMELESS[1]] for line in lines]
