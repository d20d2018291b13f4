"""Identities of samples: normalised paths, unique, and independent of the listing."""

import random
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.data.photo_sources import contents, write_parquet

from allmlp.data import open_dataset
from allmlp.data.sources.sample_ids import sample_id_of, unique_sample_ids


@pytest.mark.parametrize(
    ("path", "class_name", "sample_id"),
    [
        ("hat/1.jpg", "hat", "hat/1.jpg"),
        ("1.jpg", "hat", "hat/1.jpg"),
        ("train/hat/1.jpg", "hat", "hat/1.jpg"),
        ("Valid\\hat\\1.jpg", "hat", "hat/1.jpg"),
        ("./val//hat/./1.jpg", "hat", "hat/1.jpg"),
        ("../hat/1.jpg", "hat", "hat/1.jpg"),
        ("train/1.jpg", "train", "train/1.jpg"),  # a class of photos of trains
        ("train", "hat", "hat/train"),
        ("hats/1.jpg", "hat", "hat/hats/1.jpg"),
        ("n/a/1.jpg", "n/a", "n/a/1.jpg"),
        ("hat/\udcff.jpg", "hat", "hat/\\xff.jpg"),
    ],
)
def test_identities_are_normalised(path: str, class_name: str, sample_id: str) -> None:
    assert sample_id_of(path, class_name) == sample_id
    sample_id.encode()


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from([None, "a", "b", "a#2"]), st.sampled_from("xy"), st.sampled_from([b"1", b"2"])),
        min_size=1,
        max_size=12,
    ),
    st.randoms(use_true_random=False),
)
def test_identities_are_unique_and_independent_of_the_listing(
    photos: list[tuple[str | None, str, bytes]], generator: random.Random
) -> None:
    def named(listing: list[tuple[str | None, str, bytes]]) -> list[tuple[str, str, bytes]]:
        candidates = [None if path is None else f"{name}/{path}" for path, name, _ in listing]
        names = [name for _, name, _ in listing]
        sample_ids = unique_sample_ids(candidates, names, lambda index: listing[index][2])
        return sorted(zip(sample_ids, names, [content for *_, content in listing], strict=True))

    result = named(photos)
    assert len({sample_id for sample_id, *_ in result}) == len(photos)
    assert result == named(generator.sample(photos, len(photos)))


def test_rows_without_a_path_and_clashing_names_are_told_apart_by_content(tmp_path: Path) -> None:
    rows = [(None, b"1", 0), ("x.jpg", b"2", 1), ("x.jpg", b"3", 1), ("y.jpg", b"4", 1), (None, b"1", 0), ("", b"5", 0)]
    first = open_dataset(write_parquet(tmp_path / "a.parquet", rows, names=["p", "q"]))
    other = open_dataset(write_parquet(tmp_path / "b.parquet", rows[::-1], names=["p", "q"]))
    assert contents(first) == contents(other)
    sample_ids = first.splits["train"].sample_ids
    assert "q/y.jpg" in sample_ids
    assert sum(sample_id.startswith("q/x.jpg#") for sample_id in sample_ids) == 2
    copies = [sample_id for sample_id, _, content in contents(first)["train"] if content == b"1"]
    assert copies[1] == copies[0] + "#2"
