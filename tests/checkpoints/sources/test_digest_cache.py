"""The record of downloads' digests: what proves a file, whatever it is called, and what poisons nothing."""

import hashlib
import json
import os
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from tests.builders import GOLDEN
from tests.servers.files import FileServer
from tests.servers.mirror import CONTENT, HALF, MODEL, URL_PATH, leftovers, make_npz

from allmlp import CheckpointError, load_checkpoint
from allmlp.checkpoints.sources.catalog import CATALOG
from allmlp.checkpoints.sources.published import fetch_published, is_cached, known_digest


def test_a_digest_that_two_models_claim_tells_nothing(server: FileServer, home: Path) -> None:
    path = fetch_published(MODEL)
    records = json.loads((home / "digests.json").read_text())
    records["sam/Mixer-B_16.npz"] = records[URL_PATH] | {"model": "b16-sam"}
    (home / "digests.json").write_text(json.dumps(records))
    assert known_digest(path) is None


def test_a_wrong_digest_is_refused_and_poisons_nothing(server: FileServer, home: Path) -> None:
    recorded = fetch_published(MODEL)
    recorded.unlink()
    server.faults.wrong_bytes = True
    wrong = CONTENT[:-1] + bytes([CONTENT[-1] ^ 1])
    with pytest.raises(CheckpointError) as caught:
        fetch_published(MODEL)
    for digest in (CONTENT, wrong):
        assert hashlib.sha256(digest).hexdigest() in str(caught.value)
    assert "digests.json" in str(caught.value)
    assert not is_cached(MODEL)
    assert leftovers(home) == []
    server.faults.wrong_bytes = False
    assert fetch_published(MODEL).read_bytes() == CONTENT


def test_a_published_digest_goes_before_a_recorded_one(server: FileServer) -> None:
    model = replace(MODEL, sha256=hashlib.sha256(make_npz(1)).hexdigest())
    with pytest.raises(CheckpointError, match="is published"):
        fetch_published(model)
    server.files[URL_PATH] = make_npz(1)
    assert fetch_published(model).read_bytes() == make_npz(1)


def test_a_cached_file_that_was_changed_is_never_used(server: FileServer, monkeypatch: pytest.MonkeyPatch) -> None:
    path = fetch_published(MODEL)
    path.write_bytes(CONTENT[:HALF])
    monkeypatch.setenv("ALLMLP_OFFLINE", "1")
    with pytest.raises(CheckpointError, match="has changed since it was downloaded"):
        fetch_published(MODEL)
    monkeypatch.delenv("ALLMLP_OFFLINE")
    assert fetch_published(MODEL).read_bytes() == CONTENT


def test_a_cached_file_that_was_copied_is_known_by_its_content(server: FileServer, home: Path) -> None:
    path = fetch_published(MODEL)
    path.write_bytes(CONTENT)
    os.utime(path, ns=(1, 1))
    assert fetch_published(MODEL) == path
    (home / "digests.json").unlink()
    assert fetch_published(MODEL) == path
    assert len(server.requests) == 1


def test_threads_that_record_at_once_lose_nothing(server: FileServer, home: Path) -> None:
    names = ["b16-sam", "b32-sam", "b16-gsam", "b32-gsam", "s16-gsam", "s32-gsam", "s8-gsam"]
    for name in names:
        server.files[CATALOG[name].url_path] = make_npz(len(server.files), 1000)
    threads = [threading.Thread(target=fetch_published, args=(CATALOG[name],)) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(json.loads((home / "digests.json").read_text())) == len(names)


def test_a_file_is_known_by_its_content_wherever_it_lies(server: FileServer, tmp_path: Path, home: Path) -> None:
    copy = tmp_path / "weights.npz"
    copy.write_bytes(CONTENT)
    assert known_digest(copy) is None
    fetch_published(MODEL)
    assert known_digest(copy) is MODEL
    copy.write_bytes(CONTENT[:-1] + b"x")
    assert known_digest(copy) is None


def test_a_damaged_record_is_refused(server: FileServer, home: Path) -> None:
    fetch_published(MODEL)
    for damage in ("{", "[]", '{"a": {}}', '{"a": 1}', '{"a": {"sha256": 1, "size": 1, "mtime_ns": 1, "model": null}}'):
        (home / "digests.json").write_text(damage)
        with pytest.raises(CheckpointError, match="record of download digests cannot be read"):
            fetch_published(MODEL)


def test_a_damaged_record_is_told_before_the_download_and_costs_none(server: FileServer, home: Path) -> None:
    home.mkdir()
    (home / "digests.json").write_text("{")
    with pytest.raises(CheckpointError, match="record of download digests cannot be read"):
        fetch_published(MODEL)
    assert server.requests == []


def test_a_download_that_cannot_be_recorded_is_kept(server: FileServer, home: Path) -> None:
    (home / "digests.json").mkdir(parents=True)  # which can be neither read nor replaced
    with pytest.raises(CheckpointError):
        fetch_published(MODEL)
    (home / "digests.json").rmdir()
    lock = home / "digests.json.lock"
    lock.mkdir()
    with pytest.raises(CheckpointError, match="could not be written"):
        fetch_published(MODEL)
    lock.rmdir()
    assert fetch_published(MODEL).read_bytes() == CONTENT
    assert len(server.asked("GET", URL_PATH)) == 1


@pytest.mark.parametrize("damage", ["a record that is none", "a cache below a file", "no home"])
def test_files_elsewhere_do_not_need_the_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, home: Path, damage: str
) -> None:
    home.mkdir()
    (home / "digests.json").write_text("{")
    if damage == "a cache below a file":
        monkeypatch.setenv("ALLMLP_HOME", str(home / "digests.json" / "x"))
    elif damage == "no home":
        monkeypatch.setenv("ALLMLP_HOME", "~nobody-of-this-name/x")
    assert known_digest(GOLDEN / "tiny_linen.npz") is None
    assert not is_cached(MODEL)
    assert load_checkpoint(GOLDEN / "tiny_linen.npz").config.num_classes == 7


def test_without_a_home_the_way_out_is_named(server: FileServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALLMLP_HOME", "~nobody-of-this-name/x")
    with pytest.raises(CheckpointError, match="Set ALLMLP_HOME to a folder"):
        fetch_published(MODEL)


def test_a_cache_that_cannot_be_written_is_one_clear_error(server: FileServer, home: Path) -> None:
    home.write_text("a file")
    with pytest.raises(CheckpointError, match="ALLMLP_HOME"):
        fetch_published(MODEL)


def test_the_cache_follows_the_usual_variables(
    server: FileServer, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("ALLMLP_HOME")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert fetch_published(MODEL) == tmp_path / "xdg" / "allmlp" / "mixer_models" / "gsam" / "Mixer-S_16.npz"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path / "user"))
    assert fetch_published(MODEL) == tmp_path / "user/.cache/allmlp/mixer_models/gsam/Mixer-S_16.npz"


@pytest.mark.parametrize("plant", [os.mkfifo, Path.mkdir, lambda path: path.symlink_to("/dev/zero")])
def test_a_record_that_is_not_a_file_is_refused_at_once(
    server: FileServer, home: Path, plant: Callable[[Path], object]
) -> None:
    home.mkdir(exist_ok=True)
    plant(home / "digests.json")
    with pytest.raises(CheckpointError, match="the record of download digests cannot be read"):
        fetch_published(MODEL)
