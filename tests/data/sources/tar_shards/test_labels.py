"""The class of a sample and the file of class names."""

import json
from pathlib import Path

import pytest

from allmlp.data.sources.tar_shards.labels import class_names_in, label_of
from allmlp.errors import DataError


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, (None, None)),
        ({"cls": b"7"}, (7, None)),
        ({"cls": b" -1\n"}, (-1, None)),
        ({"cls": b"\xef\xbb\xbf7"}, (7, None)),
        ({"cls": b"12345678901"}, ("12345678901", None)),
        ({"cls": "chèvre".encode()}, ("chèvre", None)),
        ({"cls": b" \n"}, (None, None)),
        ({"json": {"label": 3}}, (3, None)),
        ({"json": {"label": "dog", "cls": 3}}, ("dog", None)),
        ({"json": {"label": True, "class": 4}}, (4, None)),
        ({"json": {"label": 1.0}}, (None, None)),
        ({"json": {"label": 10**400}}, (None, None)),
        ({"json": {"class_name": "dog", "sample_id": "dog/1.jpg"}, "cls": b"2"}, ("dog", "dog/1.jpg")),
        ({"json": {"label": "a caption", "sample_id": 5}, "cls": b"2"}, (2, None)),
        ({"json": [1], "cls": b"2"}, (2, None)),
        ({"json": "text", "cls": b"2"}, (2, None)),
    ],
)
def test_the_class_of_a_sample(fields: dict[str, object], expected: tuple[object, object]) -> None:
    encoded = {
        name: value if isinstance(value, bytes) else json.dumps(value).encode() for name, value in fields.items()
    }
    assert label_of(encoded) == expected


def test_class_names(tmp_path: Path) -> None:
    assert class_names_in(tmp_path) is None
    (tmp_path / "labels.txt").write_bytes("\ufeffcat\r\nguinea pig\r\n".encode())
    assert class_names_in(tmp_path) == (tmp_path / "labels.txt", ("cat", "guinea pig"))
    (tmp_path / "classes.txt").write_bytes(b"a\nb")
    assert class_names_in(tmp_path) == (tmp_path / "classes.txt", ("a", "b"))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"a\n\nb\n", "classes.txt: line 2 is empty; expected one class name per line, from class 0 on."),
        (b"", "classes.txt: line 1 is empty"),
        (b"a\nb\na\n", "classes.txt: 'a' occurs twice; give each class its own name."),
        (
            b"\xff\xfea\0",
            "classes.txt: these class names cannot be read (invalid start byte). Save them as UTF-8 text.",
        ),
        (b"x" * (5 << 20), "classes.txt: larger than 4 MiB; expected one class name per line."),
    ],
)
def test_class_names_that_are_refused(content: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / "classes.txt").write_bytes(content)
    with pytest.raises(DataError) as caught:
        class_names_in(tmp_path)
    assert message in str(caught.value)
