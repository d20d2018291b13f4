"""Experiment trackers, each in its own offline mode and read back with its own library; skipped where not installed."""

import json
import math
from collections.abc import Mapping
from pathlib import Path

import pytest
from tests.forks import run_allmlp, run_python
from tests.training.same_run import assert_same_run
from tests.training.small_runs import TINY, write_photos

from allmlp import train
from allmlp.errors import ConfigError, MissingExtraError
from allmlp.training.loggers.registry import LOGGERS, LoggerProgress, check_loggers

RECIPE = "tests.training.small_runs:tiny"
ROOT = Path(__file__).parents[3]
OFFLINE = {"WANDB_MODE": "offline", "WANDB_SILENT": "true"}


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_photos(tmp_path_factory.mktemp("photos"), per_class=8, splits=("train", "val"))


def stop_and_resume(name: str, photos: Path, run: Path) -> None:
    """Train with a tracker, stop after the first epoch, and resume without naming the tracker again."""
    program = f"""
import os, signal, sys
from allmlp.training import ConsoleProgress
from allmlp.cli.main import main
epoch = ConsoleProgress.epoch
def epoch_and_stop(self, row):
    epoch(self, row)
    os.kill(os.getpid(), signal.SIGINT)
ConsoleProgress.epoch = epoch_and_stop
main(["train", sys.argv[1], "--recipe", "{RECIPE}", "--out", sys.argv[2], "--logger", "{name}"])
"""
    stopped = run_python(program, photos, run, **OFFLINE)
    assert stopped.returncode == 130, stopped.stderr
    resumed = run_allmlp("train", "--resume", run, **OFFLINE)
    assert resumed.returncode == 0, resumed.stderr
    assert "warning the logger" not in stopped.stdout + resumed.stdout


def expected_rows(run: Path) -> list[list[str]]:
    return [line.split(",") for line in (run / "results.csv").read_text().splitlines()[1:]]


def test_tensorboard_has_every_epoch_of_both_sessions(photos: Path, tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    run = tmp_path / "run"
    stop_and_resume("tensorboard", photos, run)
    program = """
import json, sys, warnings
warnings.simplefilter("ignore")
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
events = EventAccumulator(sys.argv[1])
events.Reload()
print(json.dumps({tag: [(e.step, e.value) for e in events.Scalars(tag)] for tag in events.Tags()["scalars"]}))
"""
    found = json.loads(run_python(program, run / "loggers" / "tensorboard").stdout.splitlines()[-1])
    rows = expected_rows(run)
    assert [step for step, _ in found["epoch/validation_top1"]] == [int(row[1]) for row in rows]
    for (_, value), row in zip(found["epoch/validation_loss"], rows, strict=True):
        assert value == pytest.approx(float(row[5]), rel=1e-5)
    assert "best/validation_top1" in found


def test_wandb_continues_the_same_run(photos: Path, tmp_path: Path) -> None:
    pytest.importorskip("wandb")
    run = tmp_path / "run"
    stop_and_resume("wandb", photos, run)
    folder = run / "loggers" / "wandb"
    run_id = (folder / "run_id.txt").read_text().strip()
    sessions = sorted((folder / "wandb").glob("offline-run-*"))
    assert len(sessions) == 2
    assert all(session.name.endswith(run_id) for session in sessions)


def test_mlflow_continues_the_same_run(photos: Path, tmp_path: Path) -> None:
    pytest.importorskip("mlflow")
    run = tmp_path / "run"
    stop_and_resume("mlflow", photos, run)
    program = """
import json, sys
from mlflow.tracking import MlflowClient
client = MlflowClient(tracking_uri=f"sqlite:///{sys.argv[1]}/mlflow.db")
experiment = client.get_experiment_by_name("allmlp")
(found,) = client.search_runs([experiment.experiment_id])
history = client.get_metric_history(found.info.run_id, "epoch/validation_loss")
print(json.dumps([found.info.status, found.data.params["batch_size"], sorted((m.step, m.value) for m in history)]))
"""
    read = run_python(program, run / "loggers" / "mlflow")
    status, batch_size, history = json.loads(read.stdout.splitlines()[-1])
    assert (status, batch_size) == ("FINISHED", "16")
    rows = expected_rows(run)
    assert [step for step, _ in history] == [int(row[1]) for row in rows]
    for (_, value), row in zip(history, rows, strict=True):
        assert value == pytest.approx(float(row[5]), rel=1e-5)


def test_a_missing_library_is_named_with_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"--logger wandb needs wandb: pip install 'allmlp\[wandb\]'"):
        check_loggers(["wandb"])


def test_an_unknown_tracker_is_refused_before_anything_is_written(photos: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"logger tensorbord: unknown; .* Did you mean 'tensorboard'"):
        train(TINY, photos, tmp_path / "run", loggers=["tensorbord"])
    assert not (tmp_path / "run").exists()


def test_every_tracker_has_an_extra_of_its_name() -> None:
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    assert all(f"\n{name} = [" in text for name in LOGGERS)


@pytest.mark.parametrize("place", ["open", "log", "close"])
def test_a_tracker_that_fails_stops_no_training_and_changes_no_bit(place: str, photos: Path, tmp_path: Path) -> None:
    """A tracker with a fault where `place` says: the run ends as one without a tracker, with one warning."""
    (tmp_path / "faulty_tracker.py").write_text(f"""
class Faulty:
    def log(self, step, values):
        if {place!r} == "log":
            raise OSError("no space left on the tracker")
    def close(self, *, is_finished):
        if {place!r} == "close":
            raise RuntimeError("the server is gone")
def open_faulty(run):
    if {place!r} == "open":
        raise ValueError("no key")
    return Faulty()
""")
    program = """
import sys
sys.path.insert(0, sys.argv[3])
from allmlp.training import ConsoleProgress
from allmlp.training.loggers import registry
registry.LOGGERS["faulty"] = registry._Kind("faulty_tracker", "faulty_tracker", "open_faulty")
from allmlp import train
from tests.training.small_runs import TINY
train(TINY, sys.argv[1], sys.argv[2], loggers=["faulty"], progress=ConsoleProgress())
"""
    done = run_python(program, photos, tmp_path / "run", tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("warning the logger faulty failed") == 1
    assert "training continues" in done.stdout
    train(TINY, photos, tmp_path / "plain")
    assert_same_run(tmp_path / "run", tmp_path / "plain")


def test_values_that_are_not_finite_are_left_out() -> None:
    received: list[Mapping[str, float]] = []

    class Recorder:
        def log(self, step: int, values: Mapping[str, float]) -> None:
            received.append(values)

        def close(self, *, is_finished: bool) -> None: ...

    progress = LoggerProgress(lambda line: None)
    progress._open["recorder"] = Recorder()
    progress.epoch({"epoch": 1, "step": 5, "train_loss": math.nan, "validation_loss": 0.5})
    assert received == [{"epoch/epoch": 1.0, "epoch/validation_loss": 0.5}]
