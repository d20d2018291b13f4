"""Avg 5 as a user runs it: the command, on tasks of a folder, from a checkpoint of the user."""

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from tests.builders import tiny_checkpoint
from tests.forks import run_python
from tests.training.small_runs import write_photos

from allmlp.checkpoints import save_checkpoint
from allmlp.cli.main import main
from allmlp.errors import DataError
from allmlp.studies import Arm, StudyOptions, Workplace, resume_study, run_study
from allmlp.studies.paper.avg5 import STUDY
from allmlp.studies.tasks import sources


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

    def run(arm: Arm, place: Workplace) -> Mapping[str, Any]:
        measured.append(arm.name)
        return {"top1": 0.5, "learning_rate": 0.01, "num_train": 9, "num_test": 9, "is_drawn": False}

    study = dataclasses.replace(STUDY, run=run)
    (tmp_path / "tasks" / "pets").mkdir(parents=True)
    run_study(study, tmp_path / "out", StudyOptions(data=str(tmp_path / "tasks")), report=str)
    (tmp_path / "tasks" / "cifar10.zip").touch()
    finished = resume_study(tmp_path / "out", study, report=str)
    assert measured == ["pets", "cifar10"]
    assert [result.arm.name for result in finished.results] == ["cifar10", "pets"]


def test_tasks_that_are_gone_keep_their_figures(tmp_path: Path) -> None:
    def run(arm: Arm, place: Workplace) -> Mapping[str, Any]:
        if arm.name == stop_in:
            raise KeyboardInterrupt
        return {"top1": 0.5, "learning_rate": 0.01, "num_train": 9, "num_test": 9, "is_drawn": False}

    study, stop_in = dataclasses.replace(STUDY, run=run), "pets"
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
    def run(arm: Arm, place: Workplace) -> Mapping[str, Any]:
        raise KeyboardInterrupt

    here = [True]
    monkeypatch.setattr(sources, "is_downloaded", lambda name: here[0] and name == "pets")
    study = dataclasses.replace(STUDY, run=run)
    with pytest.raises(KeyboardInterrupt):
        run_study(study, tmp_path / "out", report=str)
    here[0] = False
    with pytest.raises(DataError, match="study avg5: none of its tasks is on this machine"):
        resume_study(tmp_path / "out", study, report=str)
    assert not (tmp_path / "out" / "result.json").exists()


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
    assert run("--resume", str(tmp_path), "--from", "starter") == 2
    assert "--from cannot be changed when a study is resumed" in capsys.readouterr().err
    assert run("avg5", "--describe") == 0
    assert "named imagenet, cifar10, cifar100, pets, flowers102" in capsys.readouterr().out
