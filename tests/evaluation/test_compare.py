"""How far two models differ, against their logits."""

import dataclasses

import numpy as np
import pytest

from allmlp import open_dataset, open_model
from allmlp.data import decode
from allmlp.errors import DataError
from allmlp.evaluation import compare


@pytest.fixture
def changed(checkpoint):
    return checkpoint.replace(config=dataclasses.replace(checkpoint.config, gelu="erf"))


def test_differences_are_those_of_the_logits(checkpoint, changed, photos):
    before, after = open_model(checkpoint, device="cpu"), open_model(changed, device="cpu")
    dataset = open_dataset(photos)
    test = dataset.splits["test"]
    images = np.stack([checkpoint.preprocessing(decode(test.read(index), name="photo")) for index in range(len(test))])
    old, new = before.forward(images), after.forward(images)
    found = compare(before, after, photos)
    assert (found.num_photos, found.photos) == (12, f"the 12 photos of {photos}, test")
    assert found.largest == np.abs(old).max()
    assert found.largest_change == np.abs(old - new).max() > 0
    assert found.num_changed == (old.argmax(axis=1) != new.argmax(axis=1)).sum()
    truths = [checkpoint.class_names.index(dataset.class_names[label]) for label in test.labels]
    assert found.top1 == ((old.argmax(axis=1) == truths).mean(), (new.argmax(axis=1) == truths).mean())


def test_photos_without_labels_or_of_other_classes_have_no_accuracy(checkpoint, changed, photos, tmp_path):
    before, after = open_model(checkpoint, device="cpu"), open_model(changed, device="cpu")
    (tmp_path / "flat").mkdir()
    for path in (photos / "test" / "yak").iterdir():
        path.rename(tmp_path / "flat" / path.name)
    found = compare(before, after, tmp_path / "flat")
    assert (found.num_photos, found.top1) == (4, None)
    assert "have no labels" in found.photos
    assert compare(before, after, photos / "test").photos.endswith(f" photos of {photos / 'test'}")  # no split "train"
    (photos / "train" / "yak").rename(photos / "train" / "emu")
    assert "does not know all of its classes" in compare(before, after, photos / "train").photos
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="no photos in this folder"):
        compare(before, after, tmp_path / "empty")


def test_features_have_no_first_class(checkpoint, changed, photos):
    headless = [
        model.replace(
            config=dataclasses.replace(model.config, num_classes=0),
            weights={name: weight for name, weight in model.weights.items() if not name.startswith("head.")},
            class_names=(),
        )
        for model in (checkpoint, changed)
    ]
    found = compare(*(open_model(model, device="cpu") for model in headless), photos)
    assert (found.num_changed, found.top1) == (None, None)
