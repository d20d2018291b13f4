"""The weights of a run for use, written beside training."""

from pathlib import Path

import pytest
import torch
from tests.training.small_runs import CLASSES, TINY

from allmlp import ConfigError
from allmlp.checkpoints import Checkpoint, load_checkpoint
from allmlp.config import from_dict, to_dict
from allmlp.model import MixerConfig, MlpMixer
from allmlp.runs.layout import RunLayout
from allmlp.training.snapshots.checkpoint_writer import CheckpointWriter


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
        writer.retry_failed()
    run.checkpoints.unlink()
    writer.retry_failed()
    written = load_checkpoint(run.checkpoint("best"))
    assert all(torch.equal(value, written.weights[name]) for name, value in checkpoint.weights.items())


def test_what_was_written_is_not_written_again(checkpoint: Checkpoint, tmp_path: Path) -> None:
    run = RunLayout(tmp_path)
    writer = CheckpointWriter(run, warn=pytest.fail)
    writer.write("last", checkpoint)
    writer.wait()
    before = (run.checkpoint("last") / "model.safetensors").stat().st_ino
    writer.retry_failed()
    assert (run.checkpoint("last") / "model.safetensors").stat().st_ino == before
