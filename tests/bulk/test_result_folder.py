"""A folder of results: what may be in it before, and which request goes on with it."""

import json
import os
import time
from pathlib import Path

import pytest

from allmlp.bulk import Plan, read_results
from allmlp.bulk.part_files import owner
from allmlp.errors import ConfigError, DataError

PLAN = Path("out/_plan.json")


def test_the_plan_is_read_back(photos, begin):
    results = begin(Path("out"), photos, top_k=2, min_score=0.25)
    assert read_results(Path("out")).plan == results.plan == Plan.read(PLAN)
    assert (results.plan.num_photos, results.plan.num_parts) == (12, 3)
    assert [len(results.plan.rows_of(part)) for part in range(3)] == [5, 5, 2]


def test_the_digest_does_not_depend_on_where_the_photos_are(photos, begin, tmp_path, monkeypatch):
    first = begin(Path("out"), photos)
    (tmp_path / "new").mkdir()
    photos.rename(tmp_path / "new" / "photos")
    monkeypatch.chdir(tmp_path / "new")
    assert begin(Path("out"), photos).plan.digest == first.plan.digest


def test_the_same_request_goes_on_without_listing_again(photos, begin):
    first = begin(Path("out"), photos)
    (photos / "new.png").write_bytes(b"")
    assert begin(Path("out"), photos, part_size=None).plan == first.plan


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"top_k": 3}, "holds results with --top-k 5, not with --top-k 3"),
        ({"flip": True}, "holds results without --flip, not with --flip"),
        ({"min_score": 0.5}, "holds results without --min-score, not with --min-score 0.5"),
        ({"part_size": 7}, "holds results with --part-size 5, not with --part-size 7"),
        ({"unknown": False}, "holds results with --unknown, not with --no-unknown"),
        ({"task": "embed"}, "holds the results of `allmlp predict`, not embed"),
    ],
)
def test_another_request_is_refused(options, words, photos, begin):
    begin(Path("out"), photos)
    with pytest.raises(ConfigError, match=words):
        begin(Path("out"), photos, **options)


def test_other_photos_are_refused(photos, begin):
    begin(Path("out"), photos)
    with pytest.raises(ConfigError, match=r"holds the results for other photos, .*/photos"):
        begin(Path("out"), photos / "sub")


def test_a_folder_with_other_contents_is_refused(photos, begin):
    Path("out").mkdir()
    Path("out/notes.txt").touch()
    with pytest.raises(ConfigError, match=r"out: this folder is not empty \(notes.txt\), and has no plan"):
        begin(Path("out"), photos)
    assert [path.name for path in Path("out").iterdir()] == ["notes.txt"]
    Path("file").touch()
    with pytest.raises(ConfigError, match="file: cannot be used"):
        begin(Path("file"), photos)


@pytest.mark.parametrize("name", ["_claims", "_photos.parquet", "._plan.json.OWNER.abcd1234.part"])
def test_what_a_process_that_was_killed_early_left_is_no_obstacle(name, photos, begin):
    Path("out").mkdir()
    Path("out", name.replace("OWNER", owner())).touch()
    assert begin(Path("out"), photos).plan.num_photos == 12
    assert sorted(path.name for path in Path("out").iterdir()) == ["_claims", "_photos.parquet", "_plan.json"]


@pytest.mark.parametrize("name", ["_photos.parquet", "_plan.json"])
def test_what_a_process_left_that_was_killed_while_another_made_the_plan_is_removed(name, photos, begin):
    begin(Path("out"), photos)
    own, other, old = (Path("out", f".{name}.{by}.abcd1234.part") for by in (owner(), "elsewhere-1", "elsewhere-2"))
    for path in (own, other, old):
        path.touch()
    os.utime(old, (time.time() - 4000,) * 2)
    begin(Path("out"), photos)
    assert [path.exists() for path in (own, other, old)] == [False, True, False]


def test_an_empty_source_leaves_nothing(photos, begin):
    Path("empty").mkdir()
    for source in ("empty", "missing", "photos/*.gif"):
        with pytest.raises(DataError, match=source.replace("*", r"\*")):
            begin(Path("out"), source)
        assert not Path("out").exists()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"version": 2}, "a newer allmlp wrote it; update allmlp"),
        ({"version": "x"}, "the plan has version 'x': expected 1"),
        ({"format": "other"}, "this is not a plan of allmlp"),
        ({"part_size": 6}, "the plan was changed after it was written"),
        ({"part_size": "many"}, "part_size"),
        ({"surprise": 1}, "unknown key 'surprise'"),
    ],
)
def test_a_plan_that_was_changed_is_refused(change, words, photos, begin):
    begin(Path("out"), photos)
    PLAN.write_text(json.dumps(json.loads(PLAN.read_text()) | change))
    with pytest.raises(ConfigError, match=words):
        begin(Path("out"), photos)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff\xfe", b'{"format": "allmlp bulk plan", "version": 1}'])
def test_a_damaged_plan_is_refused(content, photos, begin):
    begin(Path("out"), photos)
    PLAN.write_bytes(content)
    with pytest.raises(ConfigError, match=r"out/_plan.json"):
        begin(Path("out"), photos)


def test_a_changed_list_is_refused(photos, begin):
    begin(Path("out"), photos)
    path = Path("out/_photos.parquet")
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ConfigError, match=r"_photos.parquet: this is not the list of the plan's photos"):
        begin(Path("out"), photos)
    path.unlink()
    with pytest.raises(ConfigError, match=r"_photos.parquet: cannot be read"):
        begin(Path("out"), photos)


def test_a_folder_without_a_plan_is_not_read(photos):
    with pytest.raises(ConfigError, match=r"photos: there is no _plan.json"):
        read_results(photos)
