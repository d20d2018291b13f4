"""A JSON object from a file: one clear error for everything else."""

import os
import re
from pathlib import Path

import pytest

from allmlp import CheckpointError
from allmlp.io.json_object import read_json_object


def test_an_object_is_read(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"a": [1, "тапки 👟"]}', encoding="utf-8")
    assert read_json_object(tmp_path / "config.json") == {"a": [1, "тапки 👟"]}


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-32"])  # each writes a byte order mark
def test_a_byte_order_mark_names_the_encoding(encoding: str, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"a": "тапки 👟"}', encoding=encoding)
    assert read_json_object(tmp_path / "config.json") == {"a": "тапки 👟"}


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "could not be read as JSON"),
        (b"{", "could not be read as JSON"),
        (b"{model: 3}", "could not be read as JSON"),
        (b'{"format": "allmlp checkpoint", "version": 1', "could not be read as JSON"),
        (b"<html></html>", "could not be read as JSON"),
        (b"[1]", "holds a list; expected a JSON object"),
        (b'"allmlp checkpoint"', "holds a string; expected a JSON object"),
        (b"\xff\xfe{}", "could not be read as JSON"),
        (b'{"format": "\xff"}', "could not be read as JSON"),
        (b'{"a":' * 100_000, "could not be read as JSON"),
        (b"[" * 100_000, "could not be read as JSON"),
        (b'{"version": ' + b"9" * 5000 + b"}", "could not be read as JSON"),
        (b'{"architecture": "' + b"x" * (4 << 20) + b'"}', "larger than 4 MiB"),
        (b" " * (4 << 20), "could not be read as JSON"),
    ],
    ids=lambda value: ascii(value[:20]) if isinstance(value, bytes) else "",
)
def test_what_is_no_object_is_refused(content: bytes, words: str, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_bytes(content)
    with pytest.raises(CheckpointError) as caught:
        read_json_object(tmp_path / "config.json")
    assert str(caught.value).startswith(f"{tmp_path / 'config.json'}: {words}")
    assert len(str(caught.value)) < 1000


def test_what_is_no_file_is_refused_without_waiting(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for name in ("missing.json", ".", "pipe"):
        with pytest.raises(CheckpointError, match="no such file, or not a regular file"):
            read_json_object(tmp_path / name)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("[1]", "holds a list; expected a JSON object with the scores of a sweep."),
        (" " * (4 << 20) + "{}", "not the scores"),
    ],
)
def test_the_caller_says_what_the_file_should_be(content: str, words: str, tmp_path: Path) -> None:
    (tmp_path / "scores.json").write_text(content, encoding="utf-8")
    with pytest.raises(CheckpointError, match=re.escape(words)) as caught:
        read_json_object(tmp_path / "scores.json", what="the scores of a sweep")
    assert "checkpoint" not in str(caught.value)
