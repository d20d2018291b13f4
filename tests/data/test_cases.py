"""Small inputs as found in practice, in tests/cases: each opens, or is refused with its cause."""

import shutil
from pathlib import Path

import pytest
from tests.data.photo_sources import refusal

from allmlp.data import check_photos, open_dataset

CASES = Path(__file__).parents[1] / "cases"
CLASSES = ("apple", "leaf", "sky")
TRAIN = {"train": 9}


@pytest.mark.parametrize(
    ("case", "splits", "note"),
    [
        ("layouts/training_testing.zip", {"train": 9, "test": 9}, "Testing/ is read as the test split"),
        ("layouts/train_classes_flat_test.zip", TRAIN, "left out: test/ has no class folders"),
        ("layouts/val_lacks_a_class.zip", {"train": 9, "validation": 6}, "validation has no photos of 'sky'"),
        ("layouts/nas.zip", TRAIN, "2 other files ignored"),
        ("csv/test_lacks_a_class.csv", {"train": 7, "test": 2}, "test has no photos of 'sky'"),
        ("csv/space_before_quotes.csv", TRAIN, ""),
        ("csv/split_words.csv", {"train": 5, "test": 4}, ""),
        ("csv/p", TRAIN, ""),
        ("parquet/test_without_labels", TRAIN, "the test split is left out: its labels are all empty or -1"),
        ("parquet/hub_convert_branch", {"train": 9, "test": 9}, ""),
        ("parquet/clone_with_assets", TRAIN, "left out next to the Parquet files: assets"),
    ],
)
def test_cases_that_open(case: str, splits: dict[str, int], note: str) -> None:
    dataset = open_dataset(CASES / case)
    assert dataset.class_names == CLASSES
    assert {name: len(split) for name, split in dataset.splits.items()} == splits
    assert any(line.startswith(note) for line in dataset.notes) if note else not dataset.notes
    check_photos(dataset, splits=list(splits))


@pytest.mark.parametrize(
    ("case", "expected"),
    [
        ("layouts/valid_invalid_by_month.zip", "the folders invalid/, valid/ can be read in two ways:"),
        ("layouts/trailing_space.zip", "class names that differ only by blanks: 'cat', 'cat '; rename or merge"),
        ("csv/numeric_label_5000_digits.csv", "has 5,000 characters; shorten it to 200 or fewer."),
    ],
)
def test_cases_that_are_refused(case: str, expected: str) -> None:
    message = refusal(CASES / case)
    assert message.startswith(f"{CASES / case}: ")
    assert expected in message
    assert " problems:" not in message
    assert len(message) < 800


def test_paths_from_above_the_table_are_one_problem_with_the_way_out() -> None:
    message = refusal(CASES / "csv" / "paths_from_above.csv")
    assert (
        f"9 rows: no such file or directory; paths are looked for below {CASES / 'csv'} (csv/p/apple/0.jpg" in message
    )
    assert message.endswith("note: p/apple/0.jpg exists; remove csv/ from the paths")


def test_composed_names_in_a_table_find_decomposed_files() -> None:
    dataset = open_dataset(CASES / "csv_nfc" / "nfc.csv")
    assert dataset.class_names == ("café", "leaf")
    check_photos(dataset, splits=["train"])


def test_photos_by_relative_and_by_absolute_path_are_the_same(tmp_path: Path) -> None:
    shutil.copytree(CASES / "csv" / "p", tmp_path / "p")
    photos = [path.relative_to(tmp_path) for path in sorted(tmp_path.glob("p/*/*.jpg"))]
    rows = [f"{path},{path.parent.name},train" for path in photos]
    rows += [f"{tmp_path / path},{path.parent.name},test" for path in photos]
    (tmp_path / "leak.csv").write_text("\n".join(["path,label,split", *rows]))
    assert refusal(tmp_path / "leak.csv") == (
        f"{tmp_path / 'leak.csv'}: rows 2 and 11 name the same photo, p/apple/0.jpg; so do rows 3 and 12, 4 and 13, "
        "5 and 14, 6 and 15, 7 and 16 and 3 more."
    )
