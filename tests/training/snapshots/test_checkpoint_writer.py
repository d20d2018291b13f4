"""The weights of a run for use, written in the background of training."""

import shutil
from pathlib import Path

import pytest
import torch
from tests.training.small_runs import CLASSES, TINY

from allmlp import ConfigError
from allmlp.checkpoints import Checkpoint, load_checkpoint, save_checkpoint
from allmlp.config import from_dict, to_dict
from allmlp.model import MixerConfig, MlpMixer
from allmlp.runs.layout import RunLayout
from allmlp.training.snapshots.checkpoint_writer import CheckpointWriter, split_best


@pytest.fixture
def checkpoint() -> Checkpoint:
    config = from_dict(MixerConfig, {**to_dict(TINY.model), "num_classes": len(CLASSES)}, where="test")
    return Checkpoint(
        config=config,
        weights=dict(MlpMixer(config).state_dict()),
        preprocessing=TINY.data.preprocessing(config.image_size),
        class_names=CLASSES,
        source="a test",
    )


def test_what_could_not_be_written_is_reported_and_written_at_the_end(checkpoint: Checkpoint, tmp_path: Path) -> None:
    run = RunLayout(tmp_path)
    run.checkpoints.write_bytes(b"in the way")
    lines: list[str] = []
    writer = CheckpointWriter(run, warn=lines.append)
    writer.write("best", checkpoint)
    writer.wait()
    (line,) = lines
    assert line.endswith("Training continues.")
    with pytest.raises(ConfigError, match="could not be written"):
        writer.finish()
    run.checkpoints.unlink()
    writer.finish()
    written = load_checkpoint(run.checkpoint("best"))
    assert all(torch.equal(value, written.weights[name]) for name, value in checkpoint.weights.items())


def test_what_was_written_is_not_written_again(checkpoint: Checkpoint, tmp_path: Path) -> None:
    run = RunLayout(tmp_path)
    writer = CheckpointWriter(run, warn=pytest.fail)
    writer.write("last", checkpoint)
    writer.wait()
    before = (run.checkpoint("last") / "model.safetensors").stat().st_ino
    writer.finish()
    assert (run.checkpoint("last") / "model.safetensors").stat().st_ino == before


@pytest.mark.parametrize("damage", ["flipped bit", "deleted", "older", "config edited"])
def test_the_best_is_on_disk_in_the_end_whatever_became_of_it(
    checkpoint: Checkpoint, damage: str, tmp_path: Path
) -> None:
    run = RunLayout(tmp_path)
    writer = CheckpointWriter(run, warn=pytest.fail)
    writer.write("best", checkpoint)
    writer.wait()
    weights = run.checkpoint("best") / "model.safetensors"
    expected = weights.read_bytes()
    if damage == "flipped bit":
        weights.write_bytes(expected[:-1] + bytes([expected[-1] ^ 1]))
    elif damage == "deleted":
        shutil.rmtree(run.checkpoints)
    elif damage == "older":
        older = {name: torch.zeros_like(value) for name, value in checkpoint.weights.items()}
        save_checkpoint(checkpoint.replace(weights=older), run.checkpoint("best"))
    else:
        save_checkpoint(checkpoint.replace(temperature=2.0), run.checkpoint("best"))
    writer.finish()
    assert weights.read_bytes() == expected
    assert load_checkpoint(run.checkpoint("best")).temperature == 1.0


def test_a_snapshot_carries_the_best_weights(checkpoint: Checkpoint, tmp_path: Path) -> None:
    writer = CheckpointWriter(RunLayout(tmp_path), warn=pytest.fail)
    assert writer.best_tensors() == {}
    writer.write("last", checkpoint)
    assert writer.best_tensors() == {}
    writer.write("best", checkpoint)
    writer.wait()
    state, best = split_best({"model/head.bias": torch.ones(1), **writer.best_tensors()})
    assert set(state) == {"model/head.bias"}
    assert all(torch.equal(value, best[name]) for name, value in checkpoint.weights.items())
