"""Several processes train as one: the same samples a step, the same losses but for rounding, one run folder, one error.

Real processes, started by torchrun, that meet over gloo on this machine.
"""

import csv
import json
import re
import signal
import subprocess
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file
from tests.forks import run_torchrun
from tests.training.small_runs import write_photos

from allmlp.cli.main import main

# AdamW: Muon's steps are computed in bfloat16, which makes a difference in the last bit of a gradient one in the third.
RECIPES = """
import dataclasses, os, signal
from allmlp.training import OptimizerConfig, SavingConfig, TransferConfig
from tests.forks import run_torchrun
from tests.training.small_runs import TINY

def adamw():
    model = dataclasses.replace(TINY.model, dropout=0.0)
    optimizer = OptimizerConfig(name="adamw", learning_rate=3e-3)
    saving = SavingConfig(every_minutes=None, every_steps=4)
    return dataclasses.replace(TINY, model=model, optimizer=optimizer, saving=saving, num_epochs=12)

def accumulating():
    return dataclasses.replace(adamw(), accumulation=2)

def sharded():
    return dataclasses.replace(adamw(), sharded=True)

def sharded_in_parts():
    return dataclasses.replace(adamw(), sharded=True, accumulation=2, activation_checkpointing=True)

def sgd():
    return dataclasses.replace(adamw(), optimizer=OptimizerConfig(name="sgd", learning_rate=0.03))

def sharded_sgd():
    return dataclasses.replace(sgd(), sharded=True)

def features():
    transfer = TransferConfig(checkpoint="starter", trained_blocks=0, cached_passes=2)
    return dataclasses.replace(adamw(), transfer=transfer, num_epochs=3)

def sharded_features():
    return dataclasses.replace(features(), sharded=True)
"""

# Started in place of `-m allmlp`: does something at a step of one process, then trains on as if nothing were.
AT_A_STEP = """
import os, signal, sys
from allmlp.training import loop
rank, at, action, restart = os.environ["RANK"], int(sys.argv.pop(1)), sys.argv.pop(1), os.environ["TORCHELASTIC_RESTART_COUNT"]
plain = loop.update
def update(state, *arguments, **options):
    if rank == "1" and state.step == at and restart == "0":
        from pathlib import Path
        from allmlp.training.distributed.sharding import local_tensor
        values = list(state._named_tensors().values())
        sizes = [sum(value.numel() for value in held) for held in ([local_tensor(value) for value in values], values)]
        Path("held.txt").write_text(f"{sizes[0] / sizes[1]}")
        os.kill(os.getpid(), getattr(signal, action))
    return plain(state, *arguments, **options)
loop.update = update
from allmlp.cli.main import main
main()
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("ranks")
    write_photos(place / "photos", per_class=15)  # 42 train photos less 3 held out: no multiple of anything
    (place / "my_recipes.py").write_text(RECIPES)
    (place / "at_a_step.py").write_text(AT_A_STEP)
    return place


def start(
    place: Path, count: int, *arguments: str, script: str = "", restarts: int = 0
) -> "subprocess.CompletedProcess[str]":
    """Run `allmlp train` in `count` processes."""
    program = [script] if script else ["-m", "allmlp"]
    return run_torchrun(count, *program, *arguments, restarts=restarts, cwd=place, timeout=240)


def train(place: Path, count: int, run: str, *options: str, recipe: str = "adamw") -> Path:
    done = start(place, count, "train", "photos", "--recipe", f"my_recipes:{recipe}", "--resume", run, *options)
    assert done.returncode == 0, done.stderr
    return place / run


def losses(run: Path) -> list[float]:
    with (run / "results.csv").open() as file:
        return [float(row["train_loss"]) for row in csv.DictReader(file)]


def metrics(run: Path) -> dict[str, object]:
    values: dict[str, object] = json.loads((run / "metrics.json").read_text())
    return values


@pytest.fixture(scope="module")
def alone(place: Path) -> Path:
    return train(place, 1, "alone")


@pytest.mark.parametrize(
    ("count", "recipe"),
    [
        (2, "adamw"),
        pytest.param(4, "adamw", marks=pytest.mark.slow),
        pytest.param(2, "accumulating", marks=pytest.mark.slow),
        (2, "sharded_in_parts"),
        pytest.param(4, "sharded", marks=pytest.mark.slow),
    ],
)
def test_processes_see_the_samples_of_one_and_learn_the_same(count: int, recipe: str, place: Path, alone: Path) -> None:
    run = train(place, count, f"{recipe}{count}", recipe=recipe)
    assert metrics(run)["sample_digest"] == metrics(alone)["sample_digest"]
    # Sums in another order, over some 30 steps.
    np.testing.assert_allclose(losses(run), losses(alone), rtol=1e-5)
    assert metrics(run)["evaluations"]["validation"]["num_examples"] == 6  # type: ignore[index]
    assert len(list((run / "resume").glob("step-*"))) == 2  # one writer


@pytest.mark.parametrize("recipe", ["features", pytest.param("sharded_features", marks=pytest.mark.slow)])
def test_processes_share_the_features_that_are_computed_once(recipe: str, place: Path) -> None:
    alone, run = train(place, 1, "features", recipe="features"), train(place, 2, f"{recipe}2", recipe=recipe)
    line = "features computed in every step, since the weights are sharded" if recipe != "features" else "computed once"
    assert line in (run / "log.txt").read_text()
    assert metrics(run)["sample_digest"] == metrics(alone)["sample_digest"]
    np.testing.assert_allclose(losses(run), losses(alone), rtol=1e-5)


@pytest.mark.slow
def test_a_divided_optimizer_of_another_kind_steps_alike(place: Path) -> None:
    runs = train(place, 1, "sgd", recipe="sgd"), train(place, 2, "sharded-sgd", recipe="sharded_sgd")
    np.testing.assert_allclose(losses(runs[0]), losses(runs[1]), rtol=1e-5)


@pytest.mark.slow  # its like is among the samples of tests/reliability/test_ranks_matrix.py
def test_what_was_saved_divided_goes_on_whole_and_the_other_way_round(place: Path, alone: Path) -> None:
    options = ("train", "photos", "--resume", "divided", "--recipe")
    stopped = start(place, 2, "20", "SIGTERM", *options, "my_recipes:sharded", script="at_a_step.py")
    assert (place / "divided" / "resume" / "step-000000021").is_dir(), stopped.stderr
    assert (
        0.45 < float((place / "held.txt").read_text()) < 0.55
    )  # of weights, average and optimizer, one of two has half
    stopped = start(place, 2, "25", "SIGTERM", *options, "my_recipes:adamw", script="at_a_step.py")
    assert "resumed at step 21" in (place / "divided" / "log.txt").read_text(), stopped.stderr
    train(place, 2, "divided", recipe="sharded")
    assert metrics(place / "divided")["sample_digest"] == metrics(alone)["sample_digest"]
    np.testing.assert_allclose(losses(place / "divided"), losses(alone), rtol=1e-5)


def test_a_signal_to_one_process_stops_all_at_one_step_and_another_number_of_processes_goes_on(
    place: Path, alone: Path
) -> None:
    options = ("train", "photos", "--recipe", "my_recipes:adamw", "--resume", "signal")
    settings = ("--set", "saving.every_steps=none")
    done = start(place, 2, "7", "SIGTERM", *options, *settings, script="at_a_step.py")
    assert [path.name for path in (place / "signal" / "resume").iterdir()] == ["step-000000008"]
    assert done.stderr.count("Stopped. The progress so far is saved") == 1
    assert f"exitcode  : {128 + signal.SIGTERM}" in done.stderr  # torchrun's report of the process
    train(place, 1, "signal")
    assert "resumed at step 8" in (place / "signal" / "log.txt").read_text()
    assert metrics(place / "signal")["sample_digest"] == metrics(alone)["sample_digest"]
    np.testing.assert_allclose(losses(place / "signal"), losses(alone), rtol=1e-5)


@pytest.mark.slow  # its like is among the samples of tests/reliability/test_ranks_matrix.py
def test_a_killed_process_is_brought_back_to_the_same_result(place: Path) -> None:
    options = ("train", "photos", "--recipe", "my_recipes:adamw", "--resume")
    done = start(place, 2, "22", "SIGKILL", *options, "killed", script="at_a_step.py", restarts=1)
    assert done.returncode == 0, done.stderr
    # From the save of step 20, or from one that the surviving process made when it lost the other.
    assert re.search(r"resumed at step 2[0-2]", (place / "killed" / "log.txt").read_text())
    whole = train(place, 2, "undisturbed")
    states = [
        load_file(max((run / "resume").glob("step-*")) / "state.safetensors") for run in (place / "killed", whole)
    ]
    assert all(np.array_equal(states[0][name], states[1][name]) for name in states[1])
    assert metrics(place / "killed")["sample_digest"] == metrics(whole)["sample_digest"]


def test_an_error_of_all_is_told_once(place: Path) -> None:
    done = start(place, 2, "train", "fotos", "--recipe", "my_recipes:adamw", "--out", "nothing")
    assert done.stderr.count("allmlp: fotos: ") == 1
    assert not (place / "nothing").exists()


def test_a_batch_that_cannot_be_divided_is_refused(place: Path) -> None:
    done = start(place, 2, "train", "photos", "--recipe", "my_recipes:adamw", "--set", "batch_size=15", "--out", "odd")
    assert done.stderr.count("batch_size 15 cannot be divided among 2 processes") == 1


@pytest.mark.parametrize(
    ("variables", "words"),
    [
        ({"RANK": "3", "WORLD_SIZE": "2"}, "RANK is 3 and WORLD_SIZE is 2"),
        ({"WORLD_SIZE": "two"}, "environment variable WORLD_SIZE is 'two'"),
    ],
)
def test_an_environment_that_contradicts_itself_is_named(
    variables: dict[str, str],
    words: str,
    place: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(place)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SystemExit) as stop:
        main(["train", "photos", "--recipe", "demo", "--out", "never"])
    assert stop.value.code == 2
    assert words in capsys.readouterr().err
