"""The page of a study: the claim, what was measured here and on what, and whether both agree."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from allmlp.io.display import counted
from allmlp.studies.study import Arm, ArmResult, Study

__all__ = ["agreement_of", "data_remark", "has_other_photos", "page_of", "results_in", "steps_remark"]

_UNRECORDED = "The photos of this run were not recorded."


def page_of(study: Study, result: Mapping[str, Any], *, picture: str | None) -> str:
    """Return the page as Markdown, from the content of the result file; `picture` is the address of the plot."""
    results = results_in(result)
    table = study.table(results)
    commits = ", ".join(commit for commit in result["commits_of_arms"] if commit) or "unknown"
    parts = [
        f"# {study.title}",
        f"**The paper.** {study.claim} {study.outcome}",
        f"**Here.** {_setup(study, result)}",
        f"**Agreement.** {agreement_of(study, result)}",
        *([] if picture is None else [f"![{study.title}]({picture})"]),
        "\n".join([_row(table.columns), "|" + "---|" * len(table.columns), *(_row(cells) for cells in table.rows)]),
        f"    {result['environment']['command']}",
        f"Measured on {_machines(result)}; commit {commits}. Seeds: {_seeds(results)}.",
    ]
    return "\n\n".join(parts) + "\n"


def agreement_of(study: Study, result: Mapping[str, Any]) -> str:
    """Return the sentence on the agreement with the paper, and what is to be known about the photos and steps of the run."""
    remarks = result.get("remarks")
    if remarks is None:  # an old result
        steps = result["options"]["num_steps"]
        remarks = [] if steps is None else [steps_remark(steps)]
    unrecorded = [_UNRECORDED] if _has_unrecorded_photos(study, result) else []
    return " ".join([study.agreement(results_in(result)), *unrecorded, *remarks])


def _setup(study: Study, result: Mapping[str, Any]) -> str:
    """Return what is done in a study; if this run had other photos than its own, or unknown ones, say so before."""
    facts = result.get("data")
    if _has_unrecorded_photos(study, result):
        photos = "Which photos this run had was not recorded"
    elif facts is not None and has_other_photos(study, facts):
        photos = "This run had other photos"
    else:
        return study.setup
    return f"{photos}; what follows is the study with its own, {study.data}. {study.setup}"


def has_other_photos(study: Study, facts: Mapping[str, Any]) -> bool:
    """Return whether a study ran on other photos than its own; `facts` are those of its photos."""
    return study.data is not None and bool(facts["name"] != study.data.partition(":")[0])


def _has_unrecorded_photos(study: Study, result: Mapping[str, Any]) -> bool:
    """Return whether a study takes photos, and an old version did not record which."""
    return study.data is not None and result.get("data") is None


def steps_remark(num_steps: int) -> str:
    """Return the sentence that says that a study ran with another number of steps than its own."""
    return f"Run with --steps {num_steps}, not with the study's own number of steps."


def data_remark(study: Study, facts: Mapping[str, Any]) -> str:
    """Return the sentence that says that a study ran on other photos than its own; `facts` are those of its photos."""
    photos = f"{facts['num_train']:,} training and {counted(facts['num_scored'], 'test photo')}"
    return (
        f"Run on {facts['name'] or 'other photos'} ({photos} of {facts['num_classes']:,} classes), not on the study's "
        f"own {study.data}."
    )


def results_in(result: Mapping[str, Any]) -> list[ArmResult]:
    """Return the arms of a result file and their figures."""
    return [ArmResult(Arm(arm["name"], arm["settings"], arm["seed"]), arm["figures"]) for arm in result["arms"]]


def _machines(result: Mapping[str, Any]) -> str:
    """Return the device, the instruction sets and the version of torch of the arms, which may have several."""
    counts = Counter(_machine(arm["environment"]) for arm in result["arms"])
    if len(counts) == 1:
        return next(iter(counts))
    return "; ".join(f"{machine} ({counted(count, 'arm')})" for machine, count in counts.items())


def _machine(facts: Mapping[str, str]) -> str:
    sets = f" with {facts['instruction_sets']}" if facts.get("instruction_sets") else ""
    torch = f", torch {facts['torch']}" if "torch" in facts else ""
    return f"{facts['device']}{sets}{torch}"


def _row(cells: Sequence[str]) -> str:
    escaped = (cell.replace("|", "\\|") for cell in cells)
    return f"| {' | '.join(escaped)} |"


def _seeds(results: list[ArmResult]) -> str:
    return ", ".join(str(seed) for seed in sorted({result.arm.seed for result in results}))
