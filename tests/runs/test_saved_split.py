"""The division of photos that a run keeps."""

import json
from pathlib import Path

import pytest

from allmlp.errors import CheckpointError
from allmlp.runs.saved_split import saved_split

SPLIT = {"train": ["a/1.jpg", "b/2.jpg"], "validation": ["a/3.jpg"]}


@pytest.fixture
def run(tmp_path: Path) -> Path:
    (tmp_path / "run" / "checkpoints" / "best").mkdir(parents=True)
    (tmp_path / "run" / "recipe.json").write_text("{}")
    (tmp_path / "run" / "split.json").write_text(json.dumps(SPLIT))
    return tmp_path / "run"


@pytest.mark.parametrize("part", [".", "checkpoints", "checkpoints/best", "recipe.json"])
def test_the_split_is_found_from_any_part_of_the_run(run: Path, part: str) -> None:
    assert saved_split(run / part) == SPLIT


def test_there_is_none_where_there_is_no_run(run: Path, tmp_path: Path) -> None:
    assert saved_split(tmp_path) == saved_split(tmp_path / "missing") == {}
    (run / "recipe.json").unlink()  # another tool's split.json is not ours
    assert saved_split(run) == {}


@pytest.mark.parametrize("content", [b"{", b"[]", b"\xff", b'{"train": 3}'])
def test_a_split_that_cannot_be_read_is_an_error(run: Path, content: bytes) -> None:
    (run / "split.json").write_bytes(content)
    with pytest.raises(CheckpointError, match=r"split\.json: cannot be read as the split of a run"):
        saved_split(run)
