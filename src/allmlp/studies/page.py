"""The page of a study: the claim, what was measured here, and whether both agree."""

from collections.abc import Mapping, Sequence
from typing import Any

from allmlp.studies.study import Arm, ArmResult, Study

__all__ = ["page_of", "results_in"]


def page_of(study: Study, result: Mapping[str, Any], *, picture: str | None) -> str:
    """Return the page as Markdown, from the content of the result file; `picture` is the address of the plot."""
    results = results_in(result)
    table = study.table(results)
    facts = result["environment"]
    sets = f" with {facts['instruction_sets']}" if facts.get("instruction_sets") else ""
    torch = f", torch {facts['torch']}" if "torch" in facts else ""
    commits = ", ".join(commit for commit in result["commits_of_arms"] if commit) or "unknown"
    parts = [
        f"# {study.title}",
        f"**The paper.** {study.claim} {study.outcome}",
        f"**Here.** {study.setup}",
        f"**Agreement.** {result['agreement']}",
        *([] if picture is None else [f"![{study.title}]({picture})"]),
        "\n".join([_row(table.columns), "|" + "---|" * len(table.columns), *(_row(cells) for cells in table.rows)]),
        f"    {facts['command']}",
        f"Measured on {facts['device']}{sets}{torch}; commit {commits}. Seeds: {_seeds(results)}.",
    ]
    return "\n\n".join(parts) + "\n"


def results_in(result: Mapping[str, Any]) -> list[ArmResult]:
    """Return the arms of a result file and their figures."""
    return [ArmResult(Arm(arm["name"], arm["settings"], arm["seed"]), arm["figures"]) for arm in result["arms"]]


def _row(cells: Sequence[str]) -> str:
    escaped = (cell.replace("|", "\\|") for cell in cells)
    return f"| {' | '.join(escaped)} |"


def _seeds(results: list[ArmResult]) -> str:
    return ", ".join(str(seed) for seed in sorted({result.arm.seed for result in results}))
