"""What the results of tasks say: a table next to the paper's rows, a plot, and a sentence."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure

from allmlp.io.display import summarise
from allmlp.provenance import spread
from allmlp.studies.drawing import COLOURS, new_figure, panels
from allmlp.studies.spreads import mean_and_std, verdict
from allmlp.studies.study import ArmResult, Table
from allmlp.studies.table3 import PaperRow
from allmlp.studies.tasks.task import Task

__all__ = ["PaperMean", "task_agreement", "task_figure", "task_table"]

NOT_HERE, DIVERGED = "not here", "diverged"
_INK, _MUTED = "#1b2230", "#5b6575"
# Points of top-1 between the mean here and the paper's.
_AGREES, _POINTS_THE_SAME_WAY = 1.0, 2.0


class PaperMean(NamedTuple):
    """A mean that the paper states.

    row: of table 2 or 3.
    value: in percent.
    checkpoints: names under which its pre-trained weights are published; none for those that are not.
    """

    row: PaperRow
    value: float
    checkpoints: tuple[str, ...] = ()

    @property
    def label(self) -> str:
        """Return the Mixer in words."""
        return f"Mixer-{self.row.variant} at {self.row.image_size}, {self.row.data}, {self.row.epochs} epochs"


def task_table(tasks: Mapping[str, Task], results: Sequence[ArmResult], name: str, paper: Sequence[PaperMean]) -> Table:
    """Return one row per task, here or not, the means of those that are here, and the paper's means of all."""
    rows = [row for task in tasks.values() for row in _task_rows(task, results)]
    groups = list(dict.fromkeys(task.group for task in tasks.values()))
    for group in groups if len(groups) > 1 else []:
        members = {key: task for key, task in tasks.items() if task.group == group}
        rows.append(_mean_row(members, results, f"{name}, {group}", group))
    rows.append(_mean_row(tasks, results, name, ""))
    rows += [(f"the paper's {name}: {mean.label}", "", f"{mean.value:.2f}", "", "", "", "3") for mean in paper]
    return Table(("task", "group", "top-1, %", "learning rate", "training photos", "test photos", "n"), rows)


def _task_rows(task: Task, results: Sequence[ArmResult]) -> list[tuple[str, ...]]:
    figures = [result.figures for result in results if result.arm.settings["task"] == task.name]
    real = [each for each in figures if "real_top1" in each]
    rows: list[tuple[str, ...]] = [(task.name, task.group, NOT_HERE, "", "", "", "0")]
    trained = [each for each in figures if each["top1"] is not None]
    if figures and not trained:
        rows = [(task.name, task.group, DIVERGED, "", "", "", "0")]
    elif figures:
        rates = ", ".join(f"{rate:g}" for rate in sorted({each["learning_rate"] for each in trained}))
        drawn = " (drawn here)" if trained[0]["is_drawn"] else ""
        counts = (f"{trained[0]['num_train']:,}{drawn}", f"{trained[0]['num_test']:,}", str(len(trained)))
        rows = [(task.name, task.group, _percent([each["top1"] for each in trained]), rates, *counts)]
    if task.name == "imagenet" and not real:
        rows.append(("imagenet by ReaL's labels, not in the mean", task.group, NOT_HERE, "", "", "", "0"))
    elif task.name == "imagenet":
        scores = _percent([each["real_top1"] for each in real])
        label = "imagenet by ReaL's labels, not in the mean"
        rows.append((label, task.group, scores, "", "", f"{real[0]['num_real']:,}", str(len(real))))
    return rows


def _mean_row(tasks: Mapping[str, Task], results: Sequence[ArmResult], name: str, group: str) -> tuple[str, ...]:
    found = _means(tasks, results)
    label = name if len(found) == len(tasks) else f"{name}: the mean of only {len(found)} of {len(tasks)} tasks"
    missing = DIVERGED if any(key in tasks for key in _diverged(results)) else NOT_HERE
    score = f"{100 * np.mean(list(found.values())):.2f}" if found else missing
    return (label, group, score, "", "", "", str(_num_seeds(tasks, results)))


def _means(tasks: Mapping[str, Task], results: Sequence[ArmResult]) -> dict[str, float]:
    """Return the mean top-1 of each task that is here, over the seeds with which training did not diverge."""
    scores: dict[str, list[float]] = {}
    for result in results:
        if result.arm.settings["task"] in tasks and result.figures["top1"] is not None:
            scores.setdefault(result.arm.settings["task"], []).append(result.figures["top1"])
    return {name: spread(scores[name])["mean"] for name in tasks if name in scores}


def _diverged(results: Sequence[ArmResult]) -> list[str]:
    """Return the tasks on which training diverged, with any seed."""
    return list(dict.fromkeys(result.arm.settings["task"] for result in results if result.figures["top1"] is None))


def _num_seeds(tasks: Mapping[str, Task], results: Sequence[ArmResult]) -> int:
    """Return the number of seeds with a score."""
    scored = [result for result in results if result.figures["top1"] is not None]
    return len({result.arm.seed for result in scored if result.arm.settings["task"] in tasks})


def _percent(scores: Sequence[float]) -> str:
    return mean_and_std(spread(scores), 2, scale=100)


def task_agreement(
    tasks: Mapping[str, Task], results: Sequence[ArmResult], name: str, paper: Sequence[PaperMean]
) -> str:
    """Return whether the mean is the paper's, if all tasks are here and the initial weights and the steps are the paper's.

    It agrees within a point; within two points, or with one seed only, it points the same way. Beyond, it does not agree, or
    with one seed only points the other way.
    """
    found, settings = _means(tasks, results), results[0].arm.settings
    diverged = _diverged(results)
    if not found:
        return f"Cannot be compared with the paper: training diverged on {summarise(diverged)}."
    mean = 100 * float(np.mean(list(found.values())))
    num_seeds = _num_seeds(tasks, results)
    ours = f"the mean of {'all' if len(found) == len(tasks) else f'{len(found)} of'} {len(tasks)} tasks"
    ours += f" is {mean:.2f} % (n = {num_seeds} {'seed' if num_seeds == 1 else 'seeds'})"
    wanted = next((each for each in paper if settings["checkpoint"] in each.checkpoints), None)
    reasons = []
    here = {result.arm.settings["task"] for result in results}
    if missing := [key for key in tasks if key not in here]:
        reasons.append(f"{len(missing)} of {len(tasks)} tasks are not here ({summarise(missing, limit=5)})")
    if diverged:
        reasons.append(f"training diverged on {summarise(diverged)}")
    if wanted is None:
        reasons.append("the initial weights are not the paper's")
    if any(result.arm.settings["num_steps"] != tasks[result.arm.settings["task"]].num_steps for result in results):
        steps = sorted({task.num_steps for task in tasks.values()})
        paper_steps = f"{steps[0]:,}" if len(steps) == 1 else f"{steps[0]:,} to {steps[-1]:,}"
        reasons.append(f"trainings had {settings['num_steps']:,} steps, the paper's {paper_steps}")
    if wanted is None or reasons:
        return f"Cannot be compared with the paper: {'; '.join(reasons)}. From {settings['checkpoint']}, {ours}."
    difference = abs(mean - wanted.value)
    holds = difference <= _POINTS_THE_SAME_WAY
    first_words = verdict(holds=holds, is_sure=num_seeds > 1 and (difference <= _AGREES or not holds))
    return f"{first_words}: {ours}; the paper's {name} of {wanted.label} is {wanted.value:.2f} %."


def task_figure(
    tasks: Mapping[str, Task], results: Sequence[ArmResult], name: str, paper: Sequence[PaperMean]
) -> Figure:
    """Draw the top-1 of each task that is here, and the mean; the paper's, of published weights, only where all are here."""
    found, diverged = _means(tasks, results), _diverged(results)
    groups = list(dict.fromkeys(task.group for task in tasks.values()))
    colours = dict(zip(groups, COLOURS, strict=False))
    drawing = new_figure(8.0, 1.3 + 0.27 * len(tasks))
    (axes,) = panels(drawing, [f"{name}, fine-tuned from {results[0].arm.settings['checkpoint']}"])
    places = dict(zip(tasks, range(len(tasks)), strict=True))
    for group in [group for group in groups if any(tasks[key].group == group for key in found)]:
        members = [key for key in found if tasks[key].group == group]
        heights = [100 * found[key] for key in members]
        axes.barh(
            [places[key] for key in members],
            heights,
            color=colours[group],
            height=0.7,
            label=group if len(groups) > 1 else None,
        )
    for key, place in places.items():
        missing = DIVERGED if key in diverged else NOT_HERE
        text = f"{100 * found[key]:.1f}" if key in found else missing
        at = 100 * found.get(key, 0.0)
        axes.text(at + 0.8, place, text, va="center", fontsize=8, color=_INK if key in found else _MUTED)
    if found:
        mean = 100 * float(np.mean(list(found.values())))
        of = f"mean of all {len(tasks)}" if len(found) == len(tasks) else f"mean of {len(found)} of {len(tasks)}"
        axes.axvline(mean, color=_INK, linewidth=1.2, linestyle="--", label=f"{of}: {mean:.1f} %")
    if len(found) == len(tasks):
        published = [each for each in paper if each.checkpoints]
        for colour, each in zip(COLOURS[len(groups) :], published, strict=False):
            axes.axvline(each.value, color=colour, linewidth=1, linestyle=":", label=f"the paper, {each.label}")
    axes.set_yticks(list(places.values()), list(places))
    axes.set(xlim=(0, 108), ylim=(len(tasks) - 0.4, -0.6))
    axes.set_xlabel("top-1 on test photos, %", fontsize=9, color=_MUTED)
    if found:
        axes.legend(fontsize=8, frameon=False, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    return drawing
