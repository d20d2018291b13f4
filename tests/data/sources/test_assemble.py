"""Class names, whatever the source: sorted, composed, and refused where they cannot be told apart."""

import os
import subprocess
import sys
import unicodedata
from pathlib import Path

import pytest
from tests.data.photo_sources import refusal, write_folder, write_parquet, write_table, write_zip

from allmlp.data import open_dataset
from allmlp.errors import DataError
from allmlp.training import num_training_photos


def test_numeric_class_names_are_sorted_by_number(tmp_path: Path) -> None:
    write_folder(tmp_path, {f"{number}/x.jpg": b"" for number in (10, 9, 0, 100)})
    assert open_dataset(tmp_path).class_names == ("0", "9", "10", "100")


def test_class_names_and_identities_are_composed_unicode(tmp_path: Path) -> None:
    write_folder(tmp_path, {unicodedata.normalize("NFD", "café/é.jpg"): b"1", "bar/x.jpg": b"2"})
    dataset = open_dataset(tmp_path)
    assert dataset.class_names == ("bar", "café")
    assert dataset.splits["train"].sample_ids == ("bar/x.jpg", "café/é.jpg")
    assert dataset.splits["train"].read(1) == b"1"


def test_one_class_is_opened_but_not_for_training(tmp_path: Path) -> None:
    sources = [
        write_folder(tmp_path / str(len(photos)), photos)
        for photos in ({"hat/1.jpg": b""}, {"train/hat/1.jpg": b"", "test/hat/2.jpg": b""})
    ]
    sources.append(write_zip(tmp_path / "x.zip", {"hat/1.jpg": b""}))
    sources.append(write_table(tmp_path / "1" / "t.csv", [("path", "label"), ("hat/1.jpg", "hat")]))
    sources.append(write_parquet(tmp_path / "x.parquet", [("1.jpg", b"", 0)], names=["hat", "shoe"]))
    for source in sources:
        dataset = open_dataset(source)
        assert dataset.class_names[0] == "hat"
        with pytest.raises(DataError, match=r"only one class has photos, 'hat'; a classifier needs at least two"):
            num_training_photos(dataset)


def test_class_names_that_differ_only_by_unicode_normalisation_are_refused(tmp_path: Path) -> None:
    composed, decomposed = "caf\u00e9", "cafe\u0301"
    message = refusal(write_zip(tmp_path / "x.zip", {f"{composed}/1.jpg": b"", f"{decomposed}/1.jpg": b""}))
    assert "class names that differ only by Unicode normalisation: 'cafe\\u0301', 'caf\\xe9'; rename" in message


def test_unprintable_class_names_are_refused_and_escaped(tmp_path: Path) -> None:
    message = refusal(write_zip(tmp_path / "x.zip", {"a\nb/1.jpg": b"", "c/1.jpg": b""}))
    assert "a\\nb" in message
    assert message.count("\n") == 0


SOURCES_OF_NAMES = ("folder", "zip", "table", "parquet", "labels")


def write_classes(root: Path, kind: str, names: tuple[str, ...]) -> Path:
    """Write a photo of each class, whose names may be in any source."""
    if kind == "folder":
        return write_folder(root / "x", {f"{name}/1.jpg": b"" for name in names})
    if kind == "zip":
        return write_zip(root / "x.zip", {f"{name}/1.jpg": b"" for name in names})
    if kind == "table":
        write_folder(root, {f"{i}.jpg": b"" for i in range(len(names))})
        return write_table(root / "x.csv", [("path", "label"), *((f"{i}.jpg", name) for i, name in enumerate(names))])
    rows: list[tuple[str | None, bytes | None, object]] = [(f"{i}.jpg", b"", i) for i in range(len(names))]
    if kind == "parquet":
        return write_parquet(root / "x.parquet", rows, names=[*names])
    return write_parquet(root / "x.parquet", [(path, b"", names[int(str(i))]) for path, _, i in rows], names=None)


@pytest.mark.parametrize("kind", SOURCES_OF_NAMES)
def test_class_names_of_more_than_200_characters_are_refused_and_shortened(kind: str, tmp_path: Path) -> None:
    long, longest = "y" * 201, "x" * 200
    message = refusal(write_classes(tmp_path, kind, ("a", long)))
    assert f"class name '{'y' * 56}... has 201 characters; shorten it to 200 or fewer" in message
    assert long not in message
    (tmp_path / "sound").mkdir()
    assert open_dataset(write_classes(tmp_path / "sound", kind, ("a", longest))).class_names == ("a", longest)


@pytest.mark.parametrize("kind", ["table", "parquet", "labels"])
@pytest.mark.parametrize("name", ["1" * 5_000, "9" * 4_301, "\n" * 100_000, "z" * 1_000_000])
def test_monstrous_class_names_are_short_errors(kind: str, name: str, tmp_path: Path) -> None:
    if kind != "table" or len(name) < 100_000:
        assert len(refusal(write_classes(tmp_path, kind, ("0", name)))) < 600


def test_numbers_of_many_digits_are_sorted_by_value(tmp_path: Path) -> None:
    names = ("9" * 200, "1" + "0" * 150, "007", "8", "00", "1")
    path = write_classes(tmp_path, "zip", names)
    assert open_dataset(path).class_names == tuple(sorted(names, key=int))


@pytest.mark.parametrize("kind", ["folder", "zip", "parquet"])
@pytest.mark.parametrize(
    ("names", "cause"),
    [
        (("cat", "cat "), "differ only by blanks: 'cat', 'cat '"),
        (("two words", "two  words"), "differ only by blanks: 'two  words', 'two words'"),
        (("caf\u00e9", "cafe\u0301"), "differ only by Unicode normalisation: 'cafe\\u0301', 'caf\\xe9'"),
        (("Cat", "cat"), "differ only by case: 'Cat', 'cat'"),
        (("Cat ", "cat"), "differ only by case and blanks: 'Cat ', 'cat'"),
    ],
)
def test_class_names_that_look_alike_are_quoted_after_the_cause(
    names: tuple[str, ...], cause: str, kind: str, tmp_path: Path
) -> None:
    message = refusal(write_classes(tmp_path, kind, names))
    assert f": class names that {cause}; rename" in message
    assert " lacks " not in message


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere, file names do not depend on the locale")
def test_in_an_ascii_locale_the_encoding_is_named_and_not_the_folders_blamed(tmp_path: Path) -> None:
    write_folder(tmp_path, {"grün/x.jpg": b"1", "blau/x.jpg": b"2"})
    code = f"from allmlp.data import open_dataset; open_dataset({str(tmp_path)!r})"
    locale = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    outcome = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, env=os.environ | locale
    )
    assert "is not text in ascii, the encoding in use; set the environment variable PYTHONUTF8=1" in outcome.stderr
