"""Class names, whatever the source: sorted, composed, and refused where they cannot be told apart."""

import unicodedata
from pathlib import Path

from tests.data.photo_sources import refusal, write_folder, write_parquet, write_table, write_zip

from allmlp.data import open_dataset


def test_numeric_class_names_are_sorted_by_number(tmp_path: Path) -> None:
    write_folder(tmp_path, {f"{number}/x.jpg": b"" for number in (10, 9, 0, 100)})
    assert open_dataset(tmp_path).class_names == ("0", "9", "10", "100")


def test_class_names_and_identities_are_composed_unicode(tmp_path: Path) -> None:
    write_folder(tmp_path, {unicodedata.normalize("NFD", "café/é.jpg"): b"1", "bar/x.jpg": b"2"})
    dataset = open_dataset(tmp_path)
    assert dataset.class_names == ("bar", "café")
    assert dataset.splits["train"].sample_ids == ("bar/x.jpg", "café/é.jpg")
    assert dataset.splits["train"].read(1) == b"1"


def test_one_class_is_refused(tmp_path: Path) -> None:
    for photos in ({"hat/1.jpg": b""}, {"train/hat/1.jpg": b"", "test/hat/2.jpg": b""}):
        root = write_folder(tmp_path / str(len(photos)), photos)
        assert "only one class has photos, 'hat'" in refusal(root)
    table = write_table(tmp_path / "1" / "t.csv", [("path", "label"), ("hat/1.jpg", "hat")])
    assert "only one class" in refusal(table)
    parquet = write_parquet(tmp_path / "x.parquet", [("1.jpg", b"", 0)], names=["hat", "shoe"])
    assert "only one class" in refusal(parquet)


def test_class_names_that_differ_only_by_unicode_normalisation_are_refused(tmp_path: Path) -> None:
    composed, decomposed = "caf\u00e9", "cafe\u0301"
    message = refusal(write_zip(tmp_path / "x.zip", {f"{composed}/1.jpg": b"", f"{decomposed}/1.jpg": b""}))
    assert "'cafe\\u0301', 'caf\\xe9' differ only by case or Unicode normalisation" in message


def test_unprintable_class_names_are_refused_and_escaped(tmp_path: Path) -> None:
    message = refusal(write_zip(tmp_path / "x.zip", {"a\nb/1.jpg": b"", "c/1.jpg": b""}))
    assert "a\\nb" in message
    assert message.count("\n") == 0
