"""Downloads over HTTP, of the authors' files from a local server that fails in every way it can."""

import gc
import json
import subprocess
import threading
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.servers.files import FileServer, md5_of
from tests.servers.mirror import CONTENT, FETCH, HALF, MODEL, URL_PATH, leftovers, make_npz

from allmlp import CheckpointError
from allmlp.checkpoints.sources.catalog import CATALOG
from allmlp.checkpoints.sources.published import fetch_published, is_cached
from allmlp.io import http_download
from allmlp.io.http_client import Patience


@pytest.mark.parametrize("etag", ["strong", ""])
def test_after_a_cut_only_the_missing_bytes_are_asked_for(server: FileServer, home: Path, etag: str) -> None:
    server.etag, server.dated = etag, not etag
    server.faults.cut_after, server.faults.num_cuts = HALF, 1
    assert fetch_published(MODEL).read_bytes() == CONTENT
    first, second = server.requests
    assert "range" not in first.headers
    assert second.headers["range"] == f"bytes={HALF}-"
    assert second.headers["if-range"]
    assert leftovers(home) == []


def test_the_next_call_goes_on_where_a_broken_one_stopped(server: FileServer, home: Path) -> None:
    server.faults.cut_after, server.faults.num_cuts = 1000, http_download.MAX_TRIES
    with pytest.raises(CheckpointError, match=r"cut after 3,000 of .* 3,000 bytes are kept"):
        fetch_published(MODEL)
    assert not is_cached(MODEL)
    assert fetch_published(MODEL).read_bytes() == CONTENT
    assert server.requests[-1].headers["range"] == "bytes=3000-"


def test_a_download_that_was_killed_goes_on_where_it_stopped(server: FileServer, home: Path) -> None:
    server.faults.stalls = True
    part = home / "mixer_models" / "gsam" / "Mixer-S_16.npz.part"
    with subprocess.Popen(FETCH) as child:
        try:
            wait_until(lambda: part.exists() and part.stat().st_size > 0)
        finally:
            child.kill()
    arrived = part.stat().st_size
    server.faults.stalls = False
    assert fetch_published(MODEL).read_bytes() == CONTENT
    assert server.requests[-1].headers["range"] == f"bytes={arrived}-"


@pytest.mark.parametrize("ignores_if_range", [False, True])
def test_a_file_that_changes_on_the_server_starts_anew(server: FileServer, ignores_if_range: bool) -> None:
    server.faults.ignores_if_range = ignores_if_range
    server.faults.cut_after, server.faults.num_cuts = 1000, http_download.MAX_TRIES
    with pytest.raises(CheckpointError):
        fetch_published(MODEL)
    server.files[URL_PATH] = make_npz(1)
    assert fetch_published(MODEL).read_bytes() == make_npz(1)


@pytest.mark.parametrize(("etag", "ignores_range"), [("", False), ("weak", False), ("strong", True)])
def test_without_a_sure_way_to_go_on_all_of_it_comes_again(server: FileServer, etag: str, ignores_range: bool) -> None:
    server.etag, server.faults.ignores_range = etag, ignores_range
    server.faults.cut_after, server.faults.num_cuts = HALF, 1
    assert fetch_published(MODEL).read_bytes() == CONTENT
    assert ("range" in server.requests[1].headers) == ignores_range


def test_a_complete_part_that_had_no_time_to_take_its_name_is_used(server: FileServer, home: Path) -> None:
    fetch_published(MODEL)
    path = home / "mixer_models" / "gsam" / "Mixer-S_16.npz"
    path.rename(path.with_name(path.name + ".part"))
    version = {"validator": '"x"', "size": len(CONTENT)}
    path.with_name(path.name + ".part.json").write_text(json.dumps(version))
    assert fetch_published(MODEL).read_bytes() == CONTENT
    assert len(server.requests) == 1


def test_a_complete_part_is_checked_as_an_arriving_one(server: FileServer, home: Path) -> None:
    server.md5 = md5_of(CONTENT)
    path = home / "mixer_models" / "gsam" / "Mixer-S_16.npz.part"
    path.parent.mkdir(parents=True)
    path.write_bytes(make_npz(1))
    version = {"validator": '"x"', "size": len(CONTENT), "md5": [server.md5]}
    path.with_name(path.name + ".json").write_text(json.dumps(version))
    with pytest.raises(CheckpointError, match="damaged in transit"):
        fetch_published(MODEL)
    assert fetch_published(MODEL).read_bytes() == CONTENT


@pytest.mark.parametrize("note", ['{"validator": "\\"x\\"", "size": 40}', "[]", "{", None])
def test_what_lies_where_the_part_should_be_is_not_added_to(
    server: FileServer, tmp_path: Path, note: str | None
) -> None:
    part = tmp_path / "x.part"
    part.write_bytes(b"junk" * 20)  # more than the file is said to have
    if note is not None:
        (tmp_path / "x.part.json").write_text(note)
    http_download.receive(f"{server.url}/{URL_PATH}", part)
    assert part.read_bytes() == CONTENT


def test_the_md5_that_googles_storage_announces_is_checked(server: FileServer, home: Path) -> None:
    server.md5 = md5_of(CONTENT)
    server.faults.wrong_bytes = True
    with pytest.raises(CheckpointError, match="damaged in transit"):
        fetch_published(MODEL)
    assert not (home / "digests.json").exists()
    assert leftovers(home) == []
    server.faults.wrong_bytes = False
    assert fetch_published(MODEL).read_bytes() == CONTENT


@pytest.mark.parametrize("status", [403, 404])
def test_an_error_that_will_not_pass_is_told_at_once(server: FileServer, status: int) -> None:
    server.faults.status = status
    with pytest.raises(CheckpointError, match=f"answered {status} .* ALLMLP_MIXER_MODELS_URL"):
        fetch_published(MODEL)
    assert len(server.requests) == 1


def test_a_servers_trouble_is_tried_a_few_times(server: FileServer) -> None:
    server.faults.status = 503
    with pytest.raises(CheckpointError, match="answered 503"):
        fetch_published(MODEL)
    assert len(server.requests) == http_download.MAX_TRIES


def test_no_server_at_all_is_one_clear_error(server: FileServer) -> None:
    server.stop()
    with pytest.raises(CheckpointError, match=r"could not be downloaded: .*refused.* HTTPS_PROXY"):
        fetch_published(MODEL)


def test_a_server_that_falls_silent_is_given_up(server: FileServer, tmp_path: Path) -> None:
    server.faults.stalls = True
    with pytest.raises(CheckpointError, match="timed out"):
        http_download.receive(
            f"{server.url}/{URL_PATH}", tmp_path / "x.part", patience=Patience(pause_s=0.1, retry_s=0)
        )


def test_passwords_and_keys_of_an_address_are_not_shown(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for address in ("http://user:secret@127.0.0.1:9/x?key=secret", "ftp://user:secret@host/x"):
        monkeypatch.setenv("ALLMLP_MIXER_MODELS_URL", address)
        with pytest.raises(CheckpointError) as caught:
            fetch_published(MODEL)
        assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    "address",
    [
        "http://user:secret@127.0.0.1", "http://user:secret@127.0.0.1:9", "http://user:se/secret@host", "http://[::1/secret",
        "http://host:secret/", "http://host/x?key=secret", "http://host/#secret", "http://" + "a" * 70 + ".secret/",
        "http://exa mple/secret", "http:///secret\n",
    ],
)  # fmt: skip
def test_a_mistyped_mirror_is_one_clear_error_that_shows_no_secret(
    home: Path, monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    monkeypatch.setenv("ALLMLP_MIXER_MODELS_URL", address)
    with pytest.raises(CheckpointError, match=r"^ALLMLP_MIXER_MODELS_URL .*expected an address with http://") as caught:
        fetch_published(MODEL)
    assert "secret" not in str(caught.value)
    assert leftovers(home) == []


@pytest.mark.parametrize("address", ["ftp://host/x", "file:///etc/passwd", "host/x", "http://"])
def test_a_mirror_that_is_no_web_server_is_refused(home: Path, monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    monkeypatch.setenv("ALLMLP_MIXER_MODELS_URL", address)
    with pytest.raises(CheckpointError, match=rf"ALLMLP_MIXER_MODELS_URL is {address}, which is not an HTTP address"):
        fetch_published(MODEL)


@pytest.mark.parametrize("target", ["http://[::1", "http://" + "a" * 70 + "/x", "http://u:secret@127.0.0.1:x/"])
def test_a_server_that_sends_on_to_what_is_no_address_is_one_clear_error(server: FileServer, target: str) -> None:
    server.sent_on[URL_PATH] = target
    with warnings.catch_warnings():
        # urllib leaves the connection to the garbage collector.
        warnings.simplefilter("ignore", ResourceWarning)
        with pytest.raises(CheckpointError, match=r"Mixer-S_16\.npz: could not be downloaded: ") as caught:
            fetch_published(MODEL)
        message = str(caught.value)
        del caught
        gc.collect()
    assert "secret" not in message


def test_progress_is_reported_from_what_had_arrived_before_to_the_end(server: FileServer, home: Path) -> None:
    server.faults.cut_after, server.faults.num_cuts = HALF, 1
    reported: list[tuple[int, int]] = []
    fetch_published(MODEL, report_progress=lambda done, total: reported.append((done, total)))
    assert (HALF, len(CONTENT)) in reported
    assert reported == sorted(set(reported))
    assert reported[-1] == (len(CONTENT), len(CONTENT))


def test_the_file_itself_is_asked_for_not_a_compressed_form(server: FileServer) -> None:
    fetch_published(MODEL)
    assert [request.headers["accept-encoding"] for request in server.requests] == ["identity"]


@pytest.mark.slow
def test_a_file_of_real_size_arrives_after_a_cut(server: FileServer, home: Path) -> None:
    content = make_npz(3, 59_880_472)  # B/16
    server.files["imagenet1k/Mixer-B_16.npz"] = content
    server.faults.cut_after, server.faults.num_cuts = 100_000_000, 1
    assert fetch_published(CATALOG["b16-i1k"]).read_bytes() == content
    assert server.requests[1].headers["range"] == "bytes=100000000-"


def wait_until(condition: Callable[[], bool]) -> None:
    waiting = threading.Event()
    for _ in range(3000):
        if condition():
            return
        waiting.wait(0.02)
    raise AssertionError("it did not happen within a minute")
