"""Writing a measurement down: the figures, their spread, and what they were measured with."""

import argparse
import platform
import statistics
from collections.abc import Sequence
from pathlib import Path

from allmlp.files import write_json
from allmlp.provenance import environment

RESULTS = Path(__file__).parent / "results"


def spread(values: Sequence[float]) -> dict[str, float]:
    """Return n, median, minimum and maximum, to four digits."""
    figures = {"median": statistics.median(values), "min": min(values), "max": max(values)}
    return {"n": len(values), **{name: float(f"{value:.4g}") for name, value in figures.items()}}


def record(name: str, figures: dict, arguments: argparse.Namespace) -> Path:
    """Write results/<name>.json and return its path. Paths in the options are left out: they say nothing elsewhere."""
    options = {key: value for key, value in vars(arguments).items() if not isinstance(value, Path)}
    facts = environment()
    facts["command"] = f"python benchmarks/{name}.py"
    facts["machine"] = platform.machine()
    path = write_json(RESULTS / f"{name}.json", {"environment": facts, "options": options, **figures})
    print(f"wrote {path}")
    return path
