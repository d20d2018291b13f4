"""Validation during training."""

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from tests.training.small_runs import TINY, write_photos

from allmlp.data import decode, hold_out, open_dataset
from allmlp.training.distributed.process_group import ONE_PROCESS
from allmlp.training.input_pipeline import InputPipeline
from allmlp.training.progress import NoProgress
from allmlp.training.recipe.resolve import resolve
from allmlp.training.step.state import TrainState
from allmlp.training.validation import validate


def test_the_averaged_weights_are_scored_as_torch_scores_them_and_the_trained_ones_are_put_back(tmp_path: Path) -> None:
    photos = write_photos(tmp_path / "photos")
    dataset = hold_out(open_dataset(photos), fraction=0.3, seed=0)
    recipe = resolve(TINY, dataset, "cpu")
    feed = InputPipeline(recipe, dataset, ranks=ONE_PROCESS, progress=NoProgress())
    state = TrainState(recipe)
    assert state.average is not None
    trained = [parameter.detach().clone() for parameter in state.model.parameters()]
    for value in state.average:
        value.add_(torch.randn(value.shape, generator=torch.Generator().manual_seed(0)))  # unlike the trained ones
    metrics = validate(state, feed, recipe, ranks=ONE_PROCESS)

    split = dataset.splits["validation"]
    resized = [feed.preprocessing.resize(decode(split.read(index), name="")) for index in range(len(split))]
    images = torch.from_numpy(feed.preprocessing.normalise(np.stack(resized)))
    labels = torch.tensor(split.labels)
    with torch.no_grad(), state.averaged() as model:
        logits = model(images)
    assert metrics.loss == pytest.approx(
        float(F.cross_entropy(logits, labels)), rel=1e-4
    )  # batches sum in another order
    assert metrics.top1 == pytest.approx(float((logits.argmax(1) == labels).float().mean()))

    class EndedError(Exception):
        pass

    def end() -> None:
        raise EndedError

    with pytest.raises(EndedError):
        validate(state, feed, recipe, ranks=ONE_PROCESS, check=end)
    assert all(map(torch.equal, trained, state.model.parameters()))
