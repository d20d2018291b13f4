"""Tables of photos: every faulty row by its number."""

import os
import unicodedata
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import pytest
from tests.data.photo_sources import contents, refusal, write_folder, write_table

from allmlp.data import open_dataset
from allmlp.io.display import escape


def test_all_faulty_rows_of_a_table_are_named(tmp_path: Path) -> None:
    write_folder(tmp_path, {"a/1.jpg": b"", "b/1.jpg": b"", "b/2.jpg": b""})
    (tmp_path / "c.jpg").mkdir()
    lines = [
        "path,label,split",
        "a/1.jpg,a,train",
        "a/gone.jpg,a,train",
        "b/1.jpg,,train",
        ",b,train",
        "b/2.jpg,b,maybe",
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
        "row 3: a/gone.jpg: no such file or directory; paths are looked for below ",
        "row 4: b/1.jpg: the label is empty",
        "row 5: the path is empty",
        "row 6: the split is 'maybe'; expected train, validation",
        "row 8: c.jpg: a folder",
        "row 9: has 2 cells; the header has 3",
        "row 10: contains a NUL",
        "rows 2 and 11 name the same photo, a/1.jpg",
        "xxx...: file name too long",
    ):
        assert fragment in message, fragment
    assert "9 problems" in message


def test_rows_that_fail_alike_share_a_line_with_where_their_photos_were_looked_for(tmp_path: Path) -> None:
    table = write_table(tmp_path / "t.csv", [("path", "label"), *((f"{i}.jpg", "a") for i in range(500))])
    assert refusal(table) == (
        f"{table}: 500 rows: no such file or directory; paths are looked for below {tmp_path} (0.jpg, 1.jpg, 2.jpg and 497 "
        "more); rows 2, 3, 4, 5, 6 and 495 more."
    )


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


def test_train_must_have_the_classes_of_all_splits_of_a_table(tmp_path: Path) -> None:
    write_folder(tmp_path, dict.fromkeys(("1.jpg", "2.jpg", "3.jpg"), b""))
    rows = [("path", "label", "split"), ("1.jpg", "a", "train"), ("2.jpg", "b", "train"), ("3.jpg", "c", "val")]
    message = refusal(write_table(tmp_path / "t.csv", rows))
    assert "train lacks 'c', which validation has; add photos of them to train" in message
    assert "note: " not in message.partition("train lacks")[0]


def test_a_table_whose_first_column_begins_like_a_zip_is_a_table(tmp_path: Path) -> None:
    write_folder(tmp_path, {"1.jpg": b"1", "2.jpg": b"2"})
    rows = [("PK", "path", "label"), ("1", "1.jpg", "a"), ("2", "2.jpg", "b")]
    assert open_dataset(write_table(tmp_path / "t.csv", rows)).class_names == ("a", "b")


def test_tables_take_quotes_absolute_paths_and_photos_beside_them(tmp_path: Path) -> None:
    write_folder(tmp_path / "photos", {"a, b.jpg": b"1", 'say "x".jpg': b"2"})
    rows = [("label", "path"), (" one ", "../photos/a, b.jpg"), ("two", str(tmp_path / "photos" / 'say "x".jpg'))]
    dataset = open_dataset(write_table(tmp_path / "tables" / "t.csv", rows))
    assert {label: content for _, label, content in contents(dataset)["train"]} == {"one": b"1", "two": b"2"}


@pytest.mark.parametrize("cells", ['a/1.jpg,  "hat"', '"a/1.jpg",   "hat" ', ' "a/1.jpg", hat', "a/1.jpg , hat "])
def test_blanks_around_cells_and_before_quotes_are_no_part_of_them(cells: str, tmp_path: Path) -> None:
    write_folder(tmp_path, {"a/1.jpg": b"", "a/2.jpg": b""})
    (tmp_path / "t.csv").write_text(f'path, "label"\n{cells.rstrip()}\na/2.jpg,shoe\n')
    assert open_dataset(tmp_path / "t.csv").class_names == ("hat", "shoe")


@pytest.mark.parametrize("blank", ["\t", "\u00a0", "\u2003"])
def test_quotes_after_other_blanks_are_not_taken_for_a_class(blank: str, tmp_path: Path) -> None:
    write_folder(tmp_path, {"1.jpg": b"", "2.jpg": b""})
    (tmp_path / "t.csv").write_text(f'path,label\n1.jpg,{blank}"hat"\n2.jpg,{blank}"shoe"\n', encoding="utf-8")
    assert "2 rows: quotation marks are part of the cell; remove the blanks around them" in refusal(tmp_path / "t.csv")


@pytest.mark.parametrize("marks", ["''", "``", "“”", "„“", "«»", ('\\"', '\\"'), ('"""', '"""')])
def test_other_quotation_marks_are_not_taken_for_a_part_of_the_class(marks: Sequence[str], tmp_path: Path) -> None:
    write_folder(tmp_path, {"1.jpg": b"", "2.jpg": b""})
    rows = "".join(f"{path},{marks[0]}{name}{marks[1]}\n" for path, name in (("1.jpg", "hat"), ("2.jpg", "shoe")))
    (tmp_path / "t.csv").write_text(f"path,label\n{rows}", encoding="utf-8")
    assert (
        '2 rows: quotation marks are part of the cell; remove the blanks around them, or quote cells with "'
        in refusal(tmp_path / "t.csv")
    )


@pytest.mark.parametrize("start", ["", "\ufeff"])
@pytest.mark.parametrize("end", ["\r", "\r\n", "\n\n"])
def test_lines_may_end_in_any_way_and_follow_a_byte_order_mark(start: str, end: str, tmp_path: Path) -> None:
    write_folder(tmp_path, {"1.jpg": b"", "2.jpg": b""})
    content = start + end.join(('"path",label', "1.jpg,hat", '2.jpg, "shoe"', ""))
    (tmp_path / "t.csv").write_bytes(content.encode())
    assert open_dataset(tmp_path / "t.csv").class_names == ("hat", "shoe")


@pytest.mark.parametrize(
    ("words", "splits"),
    [
        (("training", "testing"), {"train", "test"}),
        (("Train", "DEV"), {"train", "validation"}),
        (("trn", "holdout"), {"train", "test"}),
        (("train_set", "eval"), {"train", "validation"}),
    ],
)
def test_usual_words_for_splits_are_accepted(words: tuple[str, str], splits: set[str], tmp_path: Path) -> None:
    photos = {f"{word}/{name}.jpg": b"" for word in words for name in ("a", "b")}
    write_folder(tmp_path, photos)
    rows = [(path, path[-5], path.partition("/")[0]) for path in photos]
    dataset = open_dataset(write_table(tmp_path / "t.csv", [("path", "label", "split"), *rows]))
    assert set(dataset.splits) == splits
    assert dataset.splits["train"].sample_ids == ("a/a.jpg", "b/b.jpg")


def test_unknown_words_for_splits_are_one_problem_for_each(tmp_path: Path) -> None:
    write_folder(tmp_path, {f"{i}.jpg": b"" for i in range(9)})
    rows = [(f"{i}.jpg", "a", "one" if i < 6 else "two") for i in range(9)]
    message = refusal(write_table(tmp_path / "t.csv", [("path", "label", "split"), *rows]))
    assert (
        "6 rows: the split is 'one'; expected train, validation (or val, valid, dev) or test; rows 2, 3, 4" in message
    )
    assert "3 rows: the split is 'two'" in message
    assert "2 problems" in message


@pytest.mark.parametrize("label", ["", "-1"])
def test_a_test_split_without_labels_is_left_out_with_a_note(label: str, tmp_path: Path) -> None:
    write_folder(tmp_path, {f"{i}.jpg": b"" for i in range(4)})
    rows = [("0.jpg", "a", "train"), ("1.jpg", "b", "train"), ("2.jpg", label, "test"), ("3.jpg", label, "test")]
    dataset = open_dataset(write_table(tmp_path / "t.csv", [("path", "label", "split"), *rows]))
    assert [*dataset.splits] == ["train"]
    assert dataset.left_out == {"test": "its labels are all empty or -1"}
    assert dataset.notes == ("the test split is left out: its labels are all empty or -1",)


@pytest.mark.parametrize(("stored", "written"), [("NFD", "NFC"), ("NFC", "NFD")])
def test_paths_are_found_in_any_unicode_form(
    stored: Literal["NFC", "NFD"], written: Literal["NFC", "NFD"], tmp_path: Path
) -> None:
    photos = ("Å/é/ü.jpg", "Å/plain.jpg", "tod/é.jpg")
    write_folder(tmp_path, {unicodedata.normalize(stored, path): path.encode() for path in photos})
    rows = [(unicodedata.normalize(written, path), path[0]) for path in photos]
    dataset = open_dataset(write_table(tmp_path / "t.csv", [("path", "label"), *rows]))
    assert {content.decode() for *_, content in contents(dataset)["train"]} == set(photos)


def test_a_name_in_both_unicode_forms_is_the_one_that_is_written(tmp_path: Path) -> None:
    write_folder(tmp_path, {"caf\u00e9.jpg": b"composed", "cafe\u0301.jpg": b"decomposed"})
    rows = [("path", "label"), ("caf\u00e9.jpg", "a"), ("cafe\u0301.jpg", "b")]
    found = contents(open_dataset(write_table(tmp_path / "t.csv", rows)))["train"]
    assert {label: content for _, label, content in found} == {"a": b"composed", "b": b"decomposed"}


@pytest.mark.skipif(os.name != "posix", reason="links of POSIX")
@pytest.mark.parametrize("other", ["link/1.jpg", "one.jpg", "a/../a/1.jpg", ".//a/1.jpg", "ABSOLUTE"])
def test_a_photo_under_two_names_is_found_through_links(other: str, tmp_path: Path) -> None:
    write_folder(tmp_path, {"a/1.jpg": b"", "b/1.jpg": b""})
    (tmp_path / "link").symlink_to("a")
    (tmp_path / "one.jpg").symlink_to("a/1.jpg")
    other = other.replace("ABSOLUTE", str(tmp_path / "a" / "1.jpg"))
    rows = [("path", "label", "split"), ("a/1.jpg", "a", "train"), ("b/1.jpg", "b", "train"), (other, "a", "test")]
    assert "rows 2 and 4 name the same photo, a/1.jpg." in refusal(write_table(tmp_path / "t.csv", rows))


def test_hard_links_are_copies_and_not_the_same_photo(tmp_path: Path) -> None:
    write_folder(tmp_path, {"1.jpg": b"", "2.jpg": b""})
    (tmp_path / "3.jpg").hardlink_to(tmp_path / "1.jpg")
    rows = [("path", "label"), ("1.jpg", "a"), ("2.jpg", "b"), ("3.jpg", "a")]
    assert len(open_dataset(write_table(tmp_path / "t.csv", rows)).splits["train"]) == 3


@pytest.mark.parametrize(
    ("stored", "written"),
    [("a/1.JPG", "a/1.jpg"), ("Photos/Été/1.jpg", "photos/e\u0301te\u0301/1.jpg"), ("b/Straße.jpg", "B/STRASSE.JPG")],
)
def test_a_path_in_other_case_is_refused_with_the_right_one(stored: str, written: str, tmp_path: Path) -> None:
    write_folder(tmp_path, {stored: b"", "other.jpg": b""})
    message = refusal(write_table(tmp_path / "t.csv", [("path", "label"), (written, "a"), ("other.jpg", "b")]))
    assert "no such file" in message
    assert f"{escape(stored)} exists; write the paths in upper and lower case as on the disk" in message
