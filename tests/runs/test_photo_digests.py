"""photos.csv: names of every kind are read back, and a damaged file is refused."""

from pathlib import Path

import pytest

from allmlp import ConfigError
from allmlp.runs.photo_digests import read_photo_digests, trained_digests, write_photo_digests

NAMES = (
    "a/plain.jpg",
    'a/comma, "quoted".jpg',
    "b/two\nlines.jpg",
    "b/car\rriage.jpg",
    "b/\r\n",
    "b/not utf-8 \udce9.jpg",
    "ü/日本.png",
    "c/ .png",
)


def test_names_of_every_kind_come_back(tmp_path: Path) -> None:
    digests = {"train": [f"{index:064x}" for index in range(len(NAMES))], "test": ["ab" * 32]}
    write_photo_digests(tmp_path / "photos.csv", {"train": NAMES, "test": ["a/plain.jpg"]}, digests)
    read = read_photo_digests(tmp_path / "photos.csv")
    assert read == {"train": dict(zip(NAMES, digests["train"], strict=True)), "test": {"a/plain.jpg": "ab" * 32}}


def test_without_a_file_nothing_is_known(tmp_path: Path) -> None:
    assert read_photo_digests(tmp_path / "photos.csv") is None
    assert trained_digests(tmp_path / "nowhere") == frozenset()
    assert trained_digests(tmp_path) == frozenset()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"a,b\n",
        b"split,sample_id,sha256\ntrain,x\n",
        b"split,sample_id,sha256\ntrain,x,y,z\n",
        b'split,sample_id,sha256\n"train,x,y\n',
        b"\0\0",
        b"split,sample_id,sha256\ntrain,x," + b"0" * 63 + b"\n",  # cut short
        b"split,sample_id,sha256\ntrain,x," + b"0" * 63 + b"p\n",  # a flipped bit
        b"split,sample_id,sha256\ntrain,x," + b"0" * 64 + b",\n",
    ],
)
def test_a_damaged_file_is_refused_by_name(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "photos.csv"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=r"photos\.csv: cannot be read as the photos of a run"):
        read_photo_digests(path)


def test_the_photos_a_run_trained_on_are_found_from_its_checkpoint(tmp_path: Path) -> None:
    best = tmp_path / "run" / "checkpoints" / "best"
    best.mkdir(parents=True)
    (tmp_path / "run" / "recipe.json").write_text("{}")
    write_photo_digests(
        tmp_path / "run" / "photos.csv", {"train": ["a"], "test": ["b"]}, {"train": ["11" * 32], "test": ["22" * 32]}
    )
    for path in (tmp_path / "run", best, best.parent):
        assert trained_digests(path) == {"11" * 32}
