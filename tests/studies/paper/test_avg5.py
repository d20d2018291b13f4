"""Avg 5 as a user runs it: the command, on tasks of a folder, from a checkpoint of the user."""

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.builders import tiny_checkpoint
from tests.forks import run_python
from tests.training.small_runs import write_photos

from allmlp.checkpoints import save_checkpoint
from allmlp.cli.main import main
from allmlp.errors import DataError
from allmlp.studies import Arm, ArmContext, StudyOptions, resume_study, run_study
from allmlp.studies.paper.avg5 import STUDY
from allmlp.studies.tasks import sources
from allmlp.studies.tasks.fine_tuning import fine_tune
from allmlp.studies.tasks.task import AVG_5
from allmlp.training import loop


def run(*arguments: str) -> int | str | None:
    with pytest.raises(SystemExit) as stop:
        main(["study", *arguments])
    return stop.value.code


def test_a_trial_on_the_task_that_is_here(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_photos(tmp_path / "tasks" / "pets", per_class=10)
    save_checkpoint(tiny_checkpoint(), tmp_path / "mine")
    options = ("--data", str(tmp_path / "tasks"), "--from", str(tmp_path / "mine"), "--steps", "2")
    assert run("avg5", *options, "--out", str(tmp_path / "out")) == 0
    shown = capsys.readouterr()
    assert "5 trainings of 2 steps: 5,120 photos are seen, of 30" in shown.err
    assert (
        "Cannot be compared with the paper: 4 of 5 tasks are not here (imagenet, cifar10, cifar100, flowers102)"
        in shown.out
    )
    result = json.loads((tmp_path / "out" / "result.json").read_text())
    assert result["environment"]["command"] == "allmlp study avg5 --from CHECKPOINT --steps 2 --data PHOTOS"
    (arm,) = result["arms"]
    assert arm["settings"]["checkpoint"] == "CHECKPOINT"
    assert str(tmp_path) not in (tmp_path / "out" / "result.json").read_text()
    assert arm["figures"]["num_test"] == 30
    page = (tmp_path / "out" / "avg5.md").read_text()
    assert "| cifar10 | Avg 5 | not here |" in page
    assert "the paper's Avg 5: Mixer-H/14 at 224, JFT-300M, 14 epochs" in page
    assert (tmp_path / "out" / "avg5.png").read_bytes().startswith(b"\x89PNG")


def test_a_task_that_comes_later_is_added_when_the_study_continues(tmp_path: Path) -> None:
    measured: list[str] = []

    def run(arm: Arm, context: ArmContext) -> Mapping[str, Any]:
        measured.append(arm.name)
        return {"top1": 0.5, "learning_rate": 0.01, "num_train": 9, "num_test": 9, "is_drawn": False}

    study = dataclasses.replace(STUDY, run=run, check=None)
    (tmp_path / "tasks" / "pets").mkdir(parents=True)
    run_study(study, tmp_path / "out", StudyOptions(data=str(tmp_path / "tasks")), report=str)
    (tmp_path / "tasks" / "cifar10.zip").touch()
    finished = resume_study(tmp_path / "out", study, report=str)
    assert measured == ["pets", "cifar10"]
    assert [result.arm.name for result in finished.results] == ["cifar10", "pets"]


def test_tasks_that_are_gone_keep_their_figures(tmp_path: Path) -> None:
    def run(arm: Arm, context: ArmContext) -> Mapping[str, Any]:
        if arm.name == stop_in:
            raise KeyboardInterrupt
        return {"top1": 0.5, "learning_rate": 0.01, "num_train": 9, "num_test": 9, "is_drawn": False}

    study, stop_in = dataclasses.replace(STUDY, run=run, check=None), "pets"
    (tmp_path / "tasks").mkdir()
    for name in ("cifar10.zip", "pets.zip"):
        (tmp_path / "tasks" / name).touch()
    options = StudyOptions(data=str(tmp_path / "tasks"))
    with pytest.raises(KeyboardInterrupt):
        run_study(study, tmp_path / "out", options, report=str)
    stop_in = ""
    for gone in ("cifar10.zip", "pets.zip"):
        (tmp_path / "tasks" / gone).unlink()
        finished = resume_study(tmp_path / "out", study, report=str)
        assert {result.arm.name for result in finished.results} == {"pets", "cifar10"}
        assert "3 of 5 tasks are not here" in finished.agreement


def test_a_study_without_any_task_or_figure_says_so_when_it_continues(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run(arm: Arm, context: ArmContext) -> Mapping[str, Any]:
        raise KeyboardInterrupt

    here = [True]
    monkeypatch.setattr(sources, "is_downloaded", lambda name: here[0] and name == "pets")
    study = dataclasses.replace(STUDY, run=run, check=None)
    with pytest.raises(KeyboardInterrupt):
        run_study(study, tmp_path / "out", report=str)
    here[0] = False
    with pytest.raises(DataError, match="study avg5: none of its tasks is on this machine"):
        resume_study(tmp_path / "out", study, report=str)
    assert not (tmp_path / "out" / "result.json").exists()


def test_all_unusable_tasks_are_named_before_anything_is_trained(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_photos(tmp_path / "tasks" / "pets", per_class=4)
    write_photos(tmp_path / "tasks" / "cifar10", per_class=4, splits=("train",))
    write_photos(tmp_path / "tasks" / "flowers102", per_class=4, splits=("test",))
    assert run("avg5", "--data", str(tmp_path / "tasks"), "--out", str(tmp_path / "out")) == 3
    shown = capsys.readouterr().err
    assert "2 tasks cannot be used" in shown
    assert "cifar10: " in shown and "flowers102: " in shown and "pets: " not in shown
    assert shown.count("a task needs a train split and a test split; found ") == 2
    assert not (tmp_path / "out").exists()


def test_a_task_on_which_training_diverges_is_recorded_and_the_others_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("cifar10", "pets"):
        write_photos(tmp_path / "tasks" / name, per_class=4)
    save_checkpoint(tiny_checkpoint(), tmp_path / "mine")
    tasks = {name: dataclasses.replace(AVG_5[name], learning_rates=(0.01,)) for name in ("cifar10", "pets")}
    trained, update = [""], loop.update

    def run(arm: Arm, context: ArmContext) -> Mapping[str, Any]:
        trained.append(arm.name)
        return fine_tune(tasks, arm, context)

    def damaged(state: Any, *arguments: Any, **changes: Any) -> float:
        if trained[-1] == "cifar10":
            with torch.no_grad():
                next(state.model.parameters()).fill_(torch.nan)
        return update(state, *arguments, **changes)

    monkeypatch.setattr(loop, "update", damaged)
    lines: list[str] = []
    study = dataclasses.replace(STUDY, run=run)
    options = StudyOptions(data=str(tmp_path / "tasks"), checkpoint=str(tmp_path / "mine"), num_steps=3)
    finished = run_study(study, tmp_path / "out", options, report=lines.append)
    top1 = {result.arm.name: result.figures["top1"] for result in finished.results}
    assert top1["cifar10"] is None and top1["pets"] is not None
    assert any("training diverged at every learning rate of the paper (0.01)" in line for line in lines)
    assert "training diverged on cifar10" in finished.agreement
    assert "| cifar10 | Avg 5 | diverged |" in (tmp_path / "out" / "avg5.md").read_text()
    resume_study(tmp_path / "out", study, report=str)
    assert trained == ["", "cifar10", "pets"]


SIGNALLED = """
import os, signal, sys
from allmlp.cli.main import main
from allmlp.training import loop

step = loop.update

def update(state, *arguments, **changes):
    if state.step == 1:
        os.kill(os.getpid(), signal.SIGTERM)
    return step(state, *arguments, **changes)

loop.update = update
main(["study", "avg5", *sys.argv[1:]])
"""


def test_a_signal_stops_the_study_and_the_command_says_how_it_continues(tmp_path: Path) -> None:
    """In a process of its own, which the signal would otherwise end: a worker of pytest-xdist has no handler."""
    write_photos(tmp_path / "tasks" / "pets", per_class=4)
    save_checkpoint(tiny_checkpoint(), tmp_path / "mine")
    options = ("--data", tmp_path / "tasks", "--from", tmp_path / "mine", "--steps", "2", "--out", tmp_path / "out")
    completed = run_python(SIGNALLED, *options)
    assert completed.returncode == 143, completed.stderr
    assert "Stopped. What is done so far is saved; continue with: " in completed.stderr
    assert completed.stderr.endswith(f"allmlp study --resume {tmp_path / 'out'}\n")
    assert len(list((tmp_path / "out" / "arms").glob("pets-*/rates/lr-0.003/resume/step-000000002"))) == 1


def test_wrong_requests_are_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ALLMLP_DATA", str(tmp_path))
    assert run("avg5", "--out", str(tmp_path / "out")) == 3
    assert "study avg5: none of its tasks is on this machine. Give them with --data" in capsys.readouterr().err
    assert run("avg5", "--data", str(tmp_path / "none"), "--out", str(tmp_path / "out")) == 3
    assert "there is no such folder" in capsys.readouterr().err
    write_photos(tmp_path / "pets", per_class=2)
    assert run("avg5", "--data", str(tmp_path), "--from", "b16-i21", "--out", str(tmp_path / "out")) == 4
    assert "b16-i21" in capsys.readouterr().err
    assert run("permutations", "--from", "starter", "--out", str(tmp_path / "out")) == 2
    assert "study permutations does not start from a checkpoint; omit --from." in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
    (tmp_path / "begun").mkdir()
    (tmp_path / "begun" / "study.json").write_text(json.dumps({"study": "avg5", "options": {"checkpoint": "b16-i21k"}}))
    assert run("--resume", str(tmp_path / "begun"), "--from", "starter") == 2
    assert "--from cannot be changed when a study is resumed" in capsys.readouterr().err
    assert run("avg5", "--describe") == 0
    assert "named imagenet, cifar10, cifar100, pets, flowers102" in capsys.readouterr().out
