"""Tables of photos: every faulty row by its number."""

from pathlib import Path

import pytest
from tests.data.photo_sources import contents, refusal, write_folder, write_table

from allmlp.data import open_dataset


def test_all_faulty_rows_of_a_table_are_named(tmp_path: Path) -> None:
    write_folder(tmp_path, {"a/1.jpg": b"", "b/1.jpg": b"", "b/2.jpg": b""})
    (tmp_path / "c.jpg").mkdir()
    lines = [
        "path,label,split",
        "a/1.jpg,a,train",
        "a/gone.jpg,a,train",
        "b/1.jpg,,train",
        ",b,train",
        "b/2.jpg,b,holdout",
        "",
        "c.jpg,a,train",
        "b/1.jpg,b",
        "a/\0.jpg,a,train",
        "./a/1.jpg,b,test",
        f"{'x' * 5_000}\\1.jpg,a,train",
    ]
    (tmp_path / "t.csv").write_text("\n".join(lines))
    message = refusal(tmp_path / "t.csv")
    for fragment in (
        "row 3: a/gone.jpg: no such file",
        "row 4: the label of b/1.jpg is empty",
        "row 5: the path is empty",
        "row 6: the split is 'holdout'; expected train, validation",
        "row 8: c.jpg: a folder",
        "row 9: has 2 cells; the header has 3",
        "row 10: contains a NUL",
        "rows 2, 11 name the same photo, a/1.jpg",
        "x\\1.jpg: file name too long",
    ):
        assert fragment in message, fragment
    assert "9 problems" in message


def test_many_faulty_rows_are_counted_beyond_a_limit(tmp_path: Path) -> None:
    table = write_table(tmp_path / "t.csv", [("path", "label"), *((f"{i}.jpg", "a") for i in range(500))])
    message = refusal(table)
    assert "500 problems" in message
    assert "and 450 more" in message
    assert len(message.splitlines()) < 60


@pytest.mark.parametrize(
    ("content", "fragment"),
    [
        (b"", "missing columns: path, label"),
        (b"file,label\n1.jpg,a\n", "missing column: path; the first line is 'file,label'"),
        (b"path;label\n1.jpg;a\n", "separated by commas"),
        (b"path,label,path\n", "column path occurs twice"),
        (b"path,label\n", "no rows below the header"),
        (b"path,label\n\xff\xfe.jpg,a\n", "not UTF-8"),
        (b'path,label\n"1.jpg,a\n', "Check its quotation marks"),
        (b"path,label\n" + b"x" * 200_000 + b",a\n", "cannot be read as CSV"),
    ],
)
def test_tables_that_cannot_be_read_say_why(content: bytes, fragment: str, tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_bytes(content)
    assert fragment in refusal(tmp_path / "t.csv")


def test_splits_of_a_table_must_have_the_same_classes(tmp_path: Path) -> None:
    write_folder(tmp_path, dict.fromkeys(("1.jpg", "2.jpg", "3.jpg"), b""))
    rows = [("path", "label", "split"), ("1.jpg", "a", "train"), ("2.jpg", "b", "train"), ("3.jpg", "c", "val")]
    message = refusal(write_table(tmp_path / "t.csv", rows))
    assert "train lacks c, which validation has" in message
    assert "validation lacks a, b, which train has" in message


def test_a_table_whose_first_column_begins_like_a_zip_is_a_table(tmp_path: Path) -> None:
    write_folder(tmp_path, {"1.jpg": b"1", "2.jpg": b"2"})
    rows = [("PK", "path", "label"), ("1", "1.jpg", "a"), ("2", "2.jpg", "b")]
    assert open_dataset(write_table(tmp_path / "t.csv", rows)).class_names == ("a", "b")


def test_tables_take_quotes_absolute_paths_and_photos_beside_them(tmp_path: Path) -> None:
    write_folder(tmp_path / "photos", {"a, b.jpg": b"1", 'say "x".jpg': b"2"})
    rows = [("label", "path"), (" one ", "../photos/a, b.jpg"), ("two", str(tmp_path / "photos" / 'say "x".jpg'))]
    dataset = open_dataset(write_table(tmp_path / "tables" / "t.csv", rows))
    assert {label: content for _, label, content in contents(dataset)["train"]} == {"one": b"1", "two": b"2"}
