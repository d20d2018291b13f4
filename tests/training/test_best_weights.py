"""Which epoch's weights are kept as the best, and when patience ends a run."""

import csv
import dataclasses
import json

import pytest
from tests.training.same_run import assert_same_run
from tests.training.small_runs import TINY, write_photos

from allmlp import ConfigError, load_checkpoint, train
from allmlp.config import override
from allmlp.training.progress import NoProgress

# A rate at which the scores go up and down from epoch to epoch.
ROUGH = override(TINY, ["num_epochs=12", "optimizer.learning_rate=0.05", "ema_decay=0", "batch_size=13", "seed=3"])


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    return write_photos(tmp_path_factory.mktemp("photos"), per_class=20)


def rows(run):
    with (run / "results.csv").open() as file:
        return [{name: float(value or "nan") for name, value in row.items()} for row in csv.DictReader(file)]


def expected_epoch(run, best_by):
    scores = rows(run)
    if best_by == "last":
        return scores[-1]["epoch"]
    if best_by == "loss":
        return min(scores, key=lambda row: row["validation_loss"])["epoch"]
    return max(scores, key=lambda row: (row["validation_top1"], -row["validation_loss"]))["epoch"]


@pytest.mark.parametrize("best_by", ["top1", "loss", "last"])
def test_the_best_weights_are_those_of_the_rule(best_by, photos, tmp_path):
    result = train(override(ROUGH, [f"best_by={best_by}"]), photos, tmp_path / "run")
    assert result.best_epoch == expected_epoch(result.directory, best_by)
    best, last = (load_checkpoint(result.directory / "checkpoints" / name) for name in ("best", "last"))
    (step,) = [row["step"] for row in rows(result.directory) if row["epoch"] == result.best_epoch]
    assert best.source.endswith(f"step {step:.0f}")
    assert (result.best_epoch == 12) == (best.source == last.source)
    metrics = json.loads((result.directory / "metrics.json").read_text())
    (loss,) = [row["validation_loss"] for row in rows(result.directory) if row["epoch"] == result.best_epoch]
    assert metrics["evaluations"]["validation"]["loss_as_trained"] == pytest.approx(loss, rel=1e-4)


class StopAt(NoProgress):
    def __init__(self, step):
        self.stop_at = step

    def step(self, step, **_):
        if step == self.stop_at:
            raise KeyboardInterrupt


@pytest.mark.parametrize("best_by", ["top1", pytest.param("loss", marks=pytest.mark.slow)])
def test_patience_ends_a_run_the_epochs_it_waits_after_the_best_one(best_by, photos, tmp_path):
    plain = train(override(ROUGH, [f"best_by={best_by}"]), photos, tmp_path / "plain")
    scores = rows(plain.directory)
    recipe = override(ROUGH, [f"best_by={best_by}", "patience=2"])
    result = train(recipe, photos, tmp_path / "patient")
    short = rows(result.directory)
    assert len(short) < len(scores)
    untimed = ("epoch", "step", "train_loss", "validation_loss", "validation_top1", "learning_rate")
    assert [[row[name] for name in untimed] for row in short] == [
        [row[name] for name in untimed] for row in scores[: len(short)]
    ]
    assert short[-1]["epoch"] == result.best_epoch + 2 == expected_epoch(result.directory, best_by) + 2
    metrics = json.loads((result.directory / "metrics.json").read_text())
    assert metrics["num_epochs"] == pytest.approx(len(short), abs=0.5) and metrics["planned_epochs"] == 12
    assert metrics["minutes_needed"] is None
    assert (
        "patience: no better weights for 2 epochs, so the run ends early" in (result.directory / "log.txt").read_text()
    )
    with pytest.raises(KeyboardInterrupt):
        train(recipe, photos, tmp_path / "stopped", progress=StopAt(int(short[-1]["step"]) - 1))
    assert_same_run(train(recipe, photos, tmp_path / "stopped", resume=True).directory, result.directory)


@pytest.mark.parametrize("settings", [["patience=0"], ["patience=2", "best_by=last"], ["patience=2", "data.folds=5"]])
def test_a_patience_that_has_nothing_to_wait_for_is_refused(settings):
    with pytest.raises(
        ConfigError, match=r"patience is \d, best_by \w+ and data\.folds \d; expected a patience of at least 1"
    ):
        override(TINY, settings)


def test_patience_that_is_never_over_changes_nothing(photos, tmp_path):
    long = train(dataclasses.replace(ROUGH, patience=100), photos, tmp_path / "long")
    assert_same_run(long.directory, train(ROUGH, photos, tmp_path / "plain").directory)
