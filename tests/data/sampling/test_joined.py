"""Joined splits: every photo once, with its own bytes, label and file, whatever is chosen of them."""

import pickle
from pathlib import Path

import numpy as np
import pytest
from tests.data.photo_sources import SPLIT, write_folder, write_zip

from allmlp.data import ImageDataset, join_splits, open_dataset


@pytest.fixture(params=["folder", "zip"])
def dataset(request: pytest.FixtureRequest, tmp_path: Path) -> ImageDataset:
    if request.param == "folder":
        return open_dataset(write_folder(tmp_path / "photos", SPLIT))
    return open_dataset(write_zip(tmp_path / "photos.zip", SPLIT))


def test_photos_keep_their_bytes_and_labels(dataset: ImageDataset) -> None:
    parts = {name: dataset.splits[name] for name in ("validation", "train")}
    joined = join_splits(parts)
    assert len(joined) == sum(map(len, parts.values()))
    assert list(joined.sample_ids) == sorted(set(joined.sample_ids))
    for index, sample_id in enumerate(joined.sample_ids):
        split, _, inner = sample_id.partition("/")
        own = parts[split].sample_ids.index(inner)
        assert joined.read(index) == parts[split].read(own)
        assert joined.labels[index] == parts[split].labels[own]
        assert joined.where(index) == parts[split].where(own)
    assert not joined.labels.flags.writeable


def test_a_subset_of_a_subset_is_in_order_and_survives_pickling(dataset: ImageDataset) -> None:
    joined = join_splits({name: dataset.splits[name] for name in ("train", "validation")})
    chosen = joined.subset([20, 3, 11, 5, 0]).subset([4, 0, 2])
    expected = [(joined.sample_ids[index], joined.read(index)) for index in (0, 20, 11)]
    for split in (chosen, pickle.loads(pickle.dumps(chosen))):
        assert [(sample_id, split.read(index)) for index, sample_id in enumerate(split.sample_ids)] == expected


def test_order_sizes_and_files_are_those_of_the_parts(dataset: ImageDataset) -> None:
    parts = {name: dataset.splits[name] for name in ("train", "validation")}
    joined = join_splits(parts)
    assert sorted(joined.storage_order().tolist()) == list(range(len(joined)))
    in_order = [joined.where(index) for index in joined.storage_order()]
    assert in_order == [split.where(index) for split in parts.values() for index in split.storage_order()]
    sizes = joined.reader.sizes()
    if parts["train"].reader.sizes() is None:
        assert sizes is None
    else:
        assert sizes is not None
        assert np.array_equal(sizes, [len(joined.read(index)) for index in range(len(joined))])
    files = {path for split in parts.values() for path in split.reader.photo_files()}
    assert set(joined.reader.photo_files()) == files
