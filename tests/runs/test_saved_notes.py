"""The notes of a run, read from its folder."""

from pathlib import Path

import pytest

from allmlp import ConfigError
from allmlp.io.atomic_write import write_json
from allmlp.runs.saved_notes import read_notes


def test_notes_are_read_as_they_were_written(tmp_path: Path) -> None:
    notes = ["3 photos are skipped: a\udcff.png", "data.folds=5 has no effect", ""]
    write_json(tmp_path / "notes.json", notes)
    assert read_notes(tmp_path / "notes.json") == tuple(notes)


def test_runs_of_older_versions_have_none(tmp_path: Path) -> None:
    assert read_notes(tmp_path / "notes.json") is None


@pytest.mark.parametrize("content", [b"[", b"{}", b'["a", 1]', b"\xff", b"[" * 100_000])
def test_a_damaged_file_is_named_with_what_to_do(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "notes.json").write_bytes(content)
    with pytest.raises(ConfigError, match=r"notes\.json: cannot be read as the notes of a run .*delete it to go on"):
        read_notes(tmp_path / "notes.json")
