"""What the tables of several pages share: reading of results, captions, and numbers in words."""

import json
from pathlib import Path

from allmlp.provenance import spread

ROOT = Path(__file__).resolve().parents[2]


def read(path):
    return json.loads((ROOT / path).read_text())


def caption(result):
    """Return the origin of figures: command, commit, device, instruction sets if they were recorded, and torch version."""
    facts = result["environment"]
    sets = f" with {facts['instruction_sets']}" if "instruction_sets" in facts else ""
    return f"`{facts['command']}`, commit {facts['commit']}, {facts['device']}{sets}, torch {facts['torch']}.\n"


def table(columns, rows):
    """Return a Markdown table with these cells."""
    lines = [f"| {' | '.join(cells)} |".replace("|  |", "| |") for cells in (columns, *rows)]
    return "\n".join([lines[0], "|" + "---|" * len(columns), *lines[1:]]) + "\n"


def percent(figures):
    """Write mean ± standard deviation in percent, or a single value without deviation."""
    mean = f"{100 * figures['mean']:.1f}"
    return mean if figures["n"] == 1 else f"{mean} ± {100 * figures['std']:.1f}"


def points(figures):
    """Write a mean difference ± standard deviation in points."""
    return f"{100 * figures['mean']:+.1f} ± {100 * figures['std']:.1f}"


def lead(arms, name, other):
    """Write by how many points an arm is ahead of another: mean ± std of the differences between runs of the same seed."""
    pairs = zip(arms[name]["runs"], arms[other]["runs"], strict=True)
    differences = [run["test"] - other_run["test"] for run, other_run in pairs]
    return f"{percent(spread(differences))} points"
