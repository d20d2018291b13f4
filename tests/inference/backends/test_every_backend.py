"""What every backend keeps: any number of images, images left alone, wrong shapes refused, several threads at once."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.builders import tiny_checkpoint
from tests.exports.conftest import FILE_FORMATS
from tests.inference.backends.engines import EVERY
from tests.inference.backends.test_eager import random_images

from allmlp import Checkpoint, Embedder, Predictor, export, open_model
from allmlp.exports import EXPORT_FORMATS
from allmlp.inference import eager_forward


@pytest.mark.parametrize("backend", EVERY)
def test_any_number_of_images_is_taken_and_left_alone(backend: str, checkpoint: Checkpoint) -> None:
    forward = open_model(checkpoint, backend=backend, device="cpu").forward
    expected = eager_forward(checkpoint, device="cpu")
    for number in (0, 1, 2, 3, 16, 33):
        images = random_images(number, checkpoint.config)
        before = images.copy()
        images.setflags(write=False)
        logits = forward(images)
        assert (logits.shape, logits.dtype) == ((number, 7), np.float32)
        np.testing.assert_allclose(logits, expected(images), rtol=1e-5, atol=1e-5)
        np.testing.assert_array_equal(images, before)


@pytest.mark.parametrize("backend", EVERY)
def test_images_of_another_size_are_refused_with_both_shapes(backend: str, checkpoint: Checkpoint) -> None:
    forward = open_model(checkpoint, backend=backend, device="cpu").forward
    with pytest.raises(ValueError, match=r"\(2, 3, 24, 16\).*\(B, 3, 16, 24\)"):
        forward(np.zeros((2, 3, 24, 16), np.float32))


@pytest.mark.parametrize("backend", EVERY)
def test_features_are_those_of_the_model_with_or_without_a_classifier(backend: str, checkpoint: Checkpoint) -> None:
    images = random_images(3, checkpoint.config)
    with torch.no_grad():
        expected = checkpoint.build().features(torch.from_numpy(images)).numpy()
    weights = {name: weight for name, weight in checkpoint.weights.items() if not name.startswith("head.")}
    headless = tiny_checkpoint(config=checkpoint.config, num_classes=0).replace(weights=weights)
    for source in (checkpoint, headless):
        model = open_model(source, backend=backend, device="cpu", output="features")
        np.testing.assert_allclose(model.forward(images), expected, rtol=1e-5, atol=1e-5)
        assert Embedder(model).num_features == 16


@pytest.mark.parametrize("backend", EVERY)
def test_several_threads_may_use_one_model(backend: str, checkpoint: Checkpoint) -> None:
    forward = open_model(checkpoint, backend=backend, device="cpu").forward
    images = [random_images(number, checkpoint.config, seed=number) for number in range(1, 33)]
    with ThreadPoolExecutor(8) as pool:
        for logits, batch in zip(pool.map(forward, images), images, strict=True):
            np.testing.assert_array_equal(logits, forward(batch))


@pytest.mark.parametrize("to", FILE_FORMATS)
def test_an_export_answers_as_its_checkpoint_through_predictor_and_embedder(
    to: str, checkpoint: Checkpoint, photos: list, tmp_path: Path
) -> None:
    path = export(checkpoint, to=to, out=tmp_path / f"x{EXPORT_FORMATS[to].ending}")
    ours, theirs = Predictor.from_checkpoint(checkpoint), Predictor.from_checkpoint(path)
    assert theirs.class_names == ours.class_names
    for before, after in zip(ours.predict(photos), theirs.predict(photos), strict=True):
        assert [row["label"] for row in after.labels] == [row["label"] for row in before.labels]
        scores = [[row["score"] for row in answer.labels] for answer in (before, after)]
        np.testing.assert_allclose(scores[1], scores[0], rtol=1e-4)
    features = [Embedder.from_checkpoint(source).embed(photos) for source in (checkpoint, path)]
    np.testing.assert_allclose(features[1], features[0], rtol=1e-5, atol=1e-5)
