"""What the results of tasks say, from made-up figures: what is not here is never in the mean."""

from typing import Any

import pytest

from allmlp.studies.drawing import to_png
from allmlp.studies.paper import avg5, vtab1k
from allmlp.studies.study import Arm, ArmResult
from allmlp.studies.tasks.task import AVG_5, VTAB_1K, Task


def result(
    task: Task, top1: float, *, seed: int = 0, checkpoint: str = "starter", steps: int = 0, **more: Any
) -> ArmResult:
    settings = {"task": task.name, "checkpoint": checkpoint, "num_steps": steps or task.num_steps}
    figures = {"top1": top1, "learning_rate": 0.03, "num_train": 1000, "num_test": 500, "is_drawn": False}
    return ArmResult(Arm(task.name, settings, seed), figures | more)


def rows_of(results: list[ArmResult], study: Any = avg5) -> dict[str, tuple[str, ...]]:
    table = study.STUDY.table(results)
    assert {len(row) for row in table.rows} == {len(table.columns)}
    return {row[0]: tuple(row) for row in table.rows}


def test_tasks_that_are_not_here_are_listed_and_not_counted() -> None:
    results = [result(AVG_5["cifar10"], 0.9), result(AVG_5["pets"], 0.6), result(AVG_5["pets"], 0.62, seed=1)]
    rows = rows_of(results)
    assert rows["cifar10"] == ("cifar10", "Avg 5", "90.00", "0.03", "1,000", "500", "1")
    assert rows["pets"][2] == "61.00 ± 1.41" and rows["pets"][-1] == "2"
    for name in ("imagenet", "cifar100", "flowers102", "imagenet by ReaL's labels, not in the mean"):
        assert rows[name][2:] == ("not here", "", "", "", "0")
    assert rows["Avg 5: the mean of only 2 of 5 tasks"][2] == "75.50"
    assert "Avg 5" not in rows
    said = avg5.STUDY.agreement(results)
    assert said.startswith(
        "Cannot be compared with the paper: 3 of 5 tasks are not here (imagenet, cifar100, flowers102)"
    )
    assert "the initial weights are not the paper's" in said
    assert "From starter, the mean of 2 of 5 tasks is 75.50 % (n = 2 seeds)." in said


def test_the_paper_s_rows_are_labelled_as_such() -> None:
    rows = rows_of([result(AVG_5["pets"], 0.6)])
    ours = [name for name in rows if not name.startswith("the paper's Avg 5: ")]
    assert len(rows) - len(ours) == 11
    assert rows["the paper's Avg 5: Mixer-B/16 at 224, ImageNet-21k, 300 epochs"][2] == "92.50"
    rows = rows_of([result(VTAB_1K["pets"], 0.6)], vtab1k)
    assert rows["the paper's VTAB-1k: Mixer-L/16 at 448, ImageNet-21k, 300 epochs"][2] == "74.95"
    assert rows["the paper's VTAB-1k: Mixer-H/14 at 448, JFT-300M, 14 epochs"][2] == "75.33"


def test_real_labels_are_a_score_of_imagenet_and_not_a_task() -> None:
    results = [result(task, 0.5, real_top1=0.9, num_real=400) for task in AVG_5.values()]
    rows = rows_of(results)
    assert rows["imagenet by ReaL's labels, not in the mean"] == (
        "imagenet by ReaL's labels, not in the mean", "Avg 5", "90.00", "", "", "400", "1",
    )  # fmt: skip
    assert rows["Avg 5"][2] == "50.00"


def test_vtab_has_the_means_of_its_groups() -> None:
    top1 = {"natural": 0.8, "specialised": 0.7, "structured": 0.4}
    results = [result(task, top1[task.group], is_drawn=task.name == "svhn") for task in VTAB_1K.values()]
    rows = rows_of(results, vtab1k)
    assert [rows[f"VTAB-1k, {group}"][2] for group in top1] == ["80.00", "70.00", "40.00"]
    assert rows["VTAB-1k"][2] == f"{100 * (7 * 0.8 + 4 * 0.7 + 8 * 0.4) / 19:.2f}"
    assert rows["svhn"][4] == "1,000 (drawn here)"
    partial = rows_of([each for each in results if each.arm.settings["task"] in ("svhn", "dtd", "dmlab")], vtab1k)
    assert partial["VTAB-1k, natural: the mean of only 2 of 7 tasks"][2] == "80.00"
    assert partial["VTAB-1k, specialised: the mean of only 0 of 4 tasks"][2] == "not here"
    assert partial["VTAB-1k: the mean of only 3 of 19 tasks"][2] == "66.67"


@pytest.mark.parametrize(
    ("top1", "seeds", "verdict"),
    [
        (0.928, 3, "Agrees with the paper"),  # 92.50 % is the paper's
        (0.928, 1, "Points the same way"),
        (0.91, 3, "Points the same way"),
        (0.9, 3, "Does not agree"),
        (0.95, 3, "Does not agree"),
        (0.9, 1, "Points the other way"),
    ],
)
def test_from_the_paper_s_weights_all_tasks_are_compared(top1: float, seeds: int, verdict: str) -> None:
    results = [result(task, top1, seed=seed, checkpoint="b16-i21k") for seed in range(seeds) for task in AVG_5.values()]
    said = avg5.STUDY.agreement(results)
    assert said.startswith(f"{verdict}: the mean of all 5 tasks is {100 * top1:.2f} % (n = {seeds} seed")
    assert said.endswith("the paper's Avg 5 of Mixer-B/16 at 224, ImageNet-21k, 300 epochs is 92.50 %.")
    fewer = [
        each._replace(arm=Arm(each.arm.name, {**each.arm.settings, "num_steps": 9}, each.arm.seed)) for each in results
    ]
    assert "trainings had 9 steps, the paper's 500 to 20,000" in avg5.STUDY.agreement(fewer)


@pytest.mark.parametrize("study", [avg5, vtab1k])
def test_the_plot_draws_with_some_and_with_all_tasks(study: Any) -> None:
    tasks = AVG_5 if study is avg5 else VTAB_1K
    for chosen in (list(tasks.values()), list(tasks.values())[1:2]):
        results = [result(task, 0.1 + 0.04 * number) for number, task in enumerate(chosen)]
        assert to_png(study.STUDY.figure(results)).startswith(b"\x89PNG")


def test_tasks_on_which_training_diverged_are_named_and_not_in_the_mean() -> None:
    diverged = ArmResult(Arm("pets", {**result(AVG_5["pets"], 0.9).arm.settings}), {"top1": None, "diverged": "why"})
    results = [*(result(task, 0.5) for name, task in AVG_5.items() if name != "pets"), diverged]
    rows = rows_of(results, avg5)
    assert rows["pets"][2] == "diverged"
    assert rows["Avg 5: the mean of only 4 of 5 tasks"][2] == "50.00"
    assert rows["Avg 5: the mean of only 4 of 5 tasks"][-1] == "1"
    nothing = rows_of([diverged], avg5)
    assert nothing["Avg 5: the mean of only 0 of 5 tasks"][2] == "diverged"
    assert nothing["Avg 5: the mean of only 0 of 5 tasks"][-1] == "0"
    said = avg5.STUDY.agreement(results)
    assert said.startswith("Cannot be compared with the paper: training diverged on pets; ")
    assert "the mean of 4 of 5 tasks is 50.00 %" in said
    assert avg5.STUDY.agreement([diverged]) == "Cannot be compared with the paper: training diverged on pets."
    assert avg5.STUDY.figure is not None
    for found in (results, [diverged]):
        assert to_png(avg5.STUDY.figure(found)).startswith(b"\x89PNG")
