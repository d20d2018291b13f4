"""Features: those of the model before its classifier, for photos in any form."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from allmlp import Checkpoint, ConfigError, DataError, Embedder, open_model, save_checkpoint
from allmlp.data import open_dataset
from allmlp.inference import eager_forward


def test_features_are_the_models_and_the_classifier_makes_the_logits_of_them(
    checkpoint: Checkpoint, photos: list[NDArray[np.uint8]]
) -> None:
    images = np.stack([checkpoint.preprocessing(photo) for photo in photos])
    features = open_model(checkpoint, device="cpu", output="features").forward(images)
    assert (features.shape, features.dtype) == ((7, 16), np.float32)
    model = checkpoint.build()
    with torch.no_grad():
        expected = model.features(torch.from_numpy(images)).numpy()
        logits = model.head(torch.from_numpy(features)).numpy()
    # Another batch, so sums may be taken in another order: float32 rounding, not more.
    np.testing.assert_allclose(features, expected, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(logits, eager_forward(checkpoint, device="cpu")(images), rtol=1e-5, atol=1e-5)


def test_features_do_not_depend_on_the_batch_size(checkpoint: Checkpoint, photos: list[NDArray[np.uint8]]) -> None:
    reference = Embedder.from_checkpoint(checkpoint, device="cpu").embed(photos)
    assert reference.shape == (7, 16)
    for batch_size in (1, 3):
        np.testing.assert_array_equal(
            Embedder.from_checkpoint(checkpoint, device="cpu", batch_size=batch_size).embed(photos), reference
        )
    np.testing.assert_array_equal(Embedder.from_checkpoint(checkpoint, device="cpu").embed(photos[2]), reference[2:3])
    assert Embedder.from_checkpoint(checkpoint, device="cpu").embed([]).shape == (0, 16)


def test_a_mixer_without_classifier_has_the_same_features(
    checkpoint: Checkpoint, photos: list[NDArray[np.uint8]], tmp_path: Path
) -> None:
    headless = checkpoint.replace(
        config=dataclasses.replace(checkpoint.config, num_classes=0),
        weights={name: weight for name, weight in checkpoint.weights.items() if not name.startswith("head.")},
        class_names=(),
    )
    loaded = Embedder.from_checkpoint(save_checkpoint(headless, tmp_path / "saved"), device="cpu")
    np.testing.assert_array_equal(
        loaded.embed(photos), Embedder.from_checkpoint(checkpoint, device="cpu").embed(photos)
    )


def test_a_split_is_embedded_in_its_order(checkpoint: Checkpoint) -> None:
    split = open_dataset("clothing").splits["test"].subset(range(5, 12))
    embedder = Embedder.from_checkpoint(checkpoint, device="cpu", batch_size=3)
    files = [split.read(index) for index in range(len(split))]
    np.testing.assert_array_equal(embedder.embed_split(split), embedder.embed(files))
    assert embedder.embed_split(split.subset([])).shape == (0, 16)


def test_every_photo_that_cannot_be_decoded_is_named(
    checkpoint: Checkpoint, photos: list[NDArray[np.uint8]], tmp_path: Path
) -> None:
    embedder = Embedder.from_checkpoint(checkpoint, device="cpu")
    with pytest.raises(DataError, match=r"(?s)bad: .*image 3: "):
        embedder.embed([("bad", b"no photo"), photos[0], b""])
    for name, content in (("a/1.png", b"text"), ("a/2.png", b""), ("b/1.png", b"text")):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=r"(?s)3 of 3 photos.*a/1\.png.*a/2\.png.*b/1\.png"):
        embedder.embed_split(open_dataset(tmp_path).splits["train"])


def test_an_impossible_batch_size_is_a_config_error(checkpoint: Checkpoint) -> None:
    with pytest.raises(ConfigError, match="batch_size is 0"):
        Embedder.from_checkpoint(checkpoint, batch_size=0)


def test_a_model_that_gives_logits_is_refused(checkpoint: Checkpoint) -> None:
    with pytest.raises(ConfigError, match="output='features'"):
        Embedder(open_model(checkpoint, device="cpu"))


def test_backend_and_precision_are_those_of_open_model(checkpoint: Checkpoint, photos: list[NDArray[np.uint8]]) -> None:
    model = open_model(checkpoint, device="cpu", precision="bfloat16", output="features")
    rounded = Embedder.from_checkpoint(checkpoint, backend="eager", device="cpu", precision="bfloat16").embed(photos)
    np.testing.assert_array_equal(rounded, Embedder(model).embed(photos))
    assert not np.array_equal(rounded, Embedder.from_checkpoint(checkpoint, device="cpu").embed(photos))
    with pytest.raises(ConfigError, match="Unknown backend 'eagre'"):
        Embedder.from_checkpoint(checkpoint, backend="eagre")
