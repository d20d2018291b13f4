"""A served model: what it opens later is the model that answers."""

import shutil
from pathlib import Path

import pytest
from tests.builders import tiny_checkpoint

from allmlp import save_checkpoint
from allmlp.errors import CheckpointError
from allmlp.serve.models import ServedModel


@pytest.mark.parametrize("opening", ["open_features", "open_explain"])
def test_a_checkpoint_that_was_replaced_is_not_mixed_with_the_one_that_answers(opening: str, tmp_path: Path):
    folder = save_checkpoint(tiny_checkpoint(seed=1), tmp_path / "checkpoint")
    model = ServedModel(folder, backend="auto", device="cpu", precision="auto")
    shutil.move(folder, tmp_path / "before")
    save_checkpoint(tiny_checkpoint(seed=2), folder)
    with pytest.raises(CheckpointError, match="has changed since the server started"):
        getattr(model, opening)()
    shutil.rmtree(folder)
    shutil.move(tmp_path / "before", folder)
    getattr(model, opening)()
