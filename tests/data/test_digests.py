"""A photo whose bytes changed under the same name is refused by name, in every kind of source."""

import hashlib
import shutil
from pathlib import Path

import pytest
from tests.training.small_runs import write_photos

from allmlp import DataError
from allmlp.data import open_dataset, photo_digest, with_digests


def test_the_digest_is_that_of_sha256sum() -> None:
    assert photo_digest(b"abc") == hashlib.sha256(b"abc").hexdigest()


def test_changed_photos_are_refused_and_others_read(tmp_path: Path) -> None:
    folder = write_photos(tmp_path / "photos", per_class=2, splits=("train",))
    dataset = open_dataset(folder)
    split = dataset.splits["train"]
    digests = [photo_digest(split.read(index)) for index in range(len(split))]
    verified = with_digests(split, digests)
    changed = folder / "train" / "green" / "01.png"
    shutil.copy(folder / "train" / "red" / "01.png", changed)
    index = verified.sample_ids.index("green/01.png")
    with pytest.raises(DataError, match=r"green/01\.png: this photo has changed since the run started"):
        verified.read(index)
    with pytest.raises(DataError, match=r"green/01\.png: this photo has changed"):
        verified.subset([0, index]).read(1)
    assert [photo_digest(verified.read(other)) for other in range(len(split)) if other != index] == [
        digest for other, digest in enumerate(digests) if other != index
    ]


def test_an_unknown_digest_is_that_of_the_first_photo_read(tmp_path: Path) -> None:
    folder = write_photos(tmp_path / "photos", per_class=2, splits=("train",))
    split = open_dataset(folder).splits["train"]
    digests = [""] * len(split)
    verified = with_digests(split, digests)
    assert digests == [""] * 6
    content = verified.read(3)
    assert digests == ["", "", "", hashlib.sha256(content).hexdigest(), "", ""]
    assert verified.read(3) == content
    shutil.copy(folder / "train" / split.sample_ids[0], folder / "train" / split.sample_ids[3])
    with pytest.raises(DataError, match="has changed"):
        verified.read(3)
