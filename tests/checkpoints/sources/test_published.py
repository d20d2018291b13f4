"""The authors' files over HTTP, by the real code against a local server that fails in every way it can."""

import contextlib
import fcntl
import gc
import hashlib
import io
import json
import os
import struct
import subprocess
import sys
import termios
import threading
import warnings
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tests.servers.files import FileServer, md5_of

from allmlp import CheckpointError, load_checkpoint
from allmlp.checkpoints.sources.catalog import CATALOG
from allmlp.checkpoints.sources.published import fetch_published, is_cached, known_digest
from allmlp.io import http_download as http_file

MODEL = CATALOG["s16-gsam"]
URL_PATH = "gsam/Mixer-S_16.npz"
GOLDEN = Path(__file__).parents[2] / "golden"


def make_npz(seed: int = 0, num_values: int = 400_000) -> bytes:
    content = io.BytesIO()
    np.savez(content, head=np.random.default_rng(seed).standard_normal(num_values, dtype=np.float32))
    return content.getvalue()


CONTENT = make_npz()
HALF = len(CONTENT) // 2


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("ALLMLP_OFFLINE", "HF_HUB_OFFLINE", "HTTP_PROXY", "http_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("ALLMLP_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def server(home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FileServer]:
    with FileServer(files={URL_PATH: CONTENT}) as server:
        monkeypatch.setenv("ALLMLP_MIXER_MODELS_URL", server.url)
        yield server


def leftovers(home: Path) -> list[str]:
    return sorted(path.name for path in home.rglob("*") if ".part" in path.name)


def test_a_file_arrives_whole_once_and_its_digest_is_recorded(server, home):
    assert not is_cached(MODEL)
    path = fetch_published(MODEL)
    assert path == home / "mixer_models" / "gsam" / "Mixer-S_16.npz"
    assert path.read_bytes() == CONTENT
    assert fetch_published(MODEL) == path
    assert is_cached(MODEL)
    assert len(server.requests) == 1
    (entry,) = json.loads((home / "digests.json").read_text()).items()
    assert entry[0] == URL_PATH
    assert entry[1]["sha256"] == hashlib.sha256(CONTENT).hexdigest()
    assert leftovers(home) == []


def test_same_names_of_several_folders_do_not_meet_in_the_cache(server):
    server.files["sam/Mixer-B_16.npz"] = make_npz(1)
    server.files["gsam/Mixer-B_16.npz"] = make_npz(2)
    assert fetch_published(CATALOG["b16-sam"]).read_bytes() == make_npz(1)
    assert fetch_published(CATALOG["b16-gsam"]).read_bytes() == make_npz(2)


@pytest.mark.parametrize("etag", ["strong", ""])
def test_after_a_cut_only_the_missing_bytes_are_asked_for(server, home, etag):
    server.etag, server.dated = etag, not etag
    server.faults.cut_after, server.faults.num_cuts = HALF, 1
    assert fetch_published(MODEL).read_bytes() == CONTENT
    first, second = server.requests
    assert "range" not in first.headers
    assert second.headers["range"] == f"bytes={HALF}-"
    assert second.headers["if-range"]
    assert leftovers(home) == []


def test_the_next_call_goes_on_where_a_broken_one_stopped(server, home):
    server.faults.cut_after, server.faults.num_cuts = 1000, http_file.MAX_TRIES
    with pytest.raises(CheckpointError, match=r"cut after 3,000 of .* 3,000 bytes are kept"):
        fetch_published(MODEL)
    assert not is_cached(MODEL)
    assert fetch_published(MODEL).read_bytes() == CONTENT
    assert server.requests[-1].headers["range"] == "bytes=3000-"


def test_a_download_that_was_killed_goes_on_where_it_stopped(server, home):
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
def test_a_file_that_changes_on_the_server_starts_anew(server, ignores_if_range):
    server.faults.ignores_if_range = ignores_if_range
    server.faults.cut_after, server.faults.num_cuts = 1000, http_file.MAX_TRIES
    with pytest.raises(CheckpointError):
        fetch_published(MODEL)
    server.files[URL_PATH] = make_npz(1)
    assert fetch_published(MODEL).read_bytes() == make_npz(1)


@pytest.mark.parametrize(("etag", "ignores_range"), [("", False), ("weak", False), ("strong", True)])
def test_without_a_sure_way_to_go_on_all_of_it_comes_again(server, etag, ignores_range):
    server.etag, server.faults.ignores_range = etag, ignores_range
    server.faults.cut_after, server.faults.num_cuts = HALF, 1
    assert fetch_published(MODEL).read_bytes() == CONTENT
    assert ("range" in server.requests[1].headers) == ignores_range


def test_a_complete_part_that_had_no_time_to_take_its_name_is_used(server, home):
    fetch_published(MODEL)
    path = home / "mixer_models" / "gsam" / "Mixer-S_16.npz"
    path.rename(path.with_name(path.name + ".part"))
    version = {"validator": '"x"', "size": len(CONTENT)}
    path.with_name(path.name + ".part.json").write_text(json.dumps(version))
    assert fetch_published(MODEL).read_bytes() == CONTENT
    assert len(server.requests) == 1


def test_a_complete_part_is_checked_as_an_arriving_one(server, home):
    server.md5 = md5_of(CONTENT)
    path = home / "mixer_models" / "gsam" / "Mixer-S_16.npz.part"
    path.parent.mkdir(parents=True)
    path.write_bytes(make_npz(1))
    version = {"validator": '"x"', "size": len(CONTENT), "md5": [server.md5]}
    path.with_name(path.name + ".json").write_text(json.dumps(version))
    with pytest.raises(CheckpointError, match="damaged on the way"):
        fetch_published(MODEL)
    assert fetch_published(MODEL).read_bytes() == CONTENT


@pytest.mark.parametrize("note", ['{"validator": "\\"x\\"", "size": 40}', "[]", "{", None])
def test_what_lies_where_the_part_should_be_is_not_added_to(server, tmp_path, note):
    part = tmp_path / "x.part"
    part.write_bytes(b"junk" * 20)  # more than the file is said to have
    if note is not None:
        (tmp_path / "x.part.json").write_text(note)
    http_file.receive(f"{server.url}/{URL_PATH}", part)
    assert part.read_bytes() == CONTENT


def test_a_file_put_into_the_cache_by_hand_is_used_and_binds_nobody(server, home):
    path = home / "mixer_models" / "gsam" / "Mixer-S_16.npz"
    path.parent.mkdir(parents=True)
    path.write_bytes(make_npz(5))
    assert fetch_published(MODEL).read_bytes() == make_npz(5)
    assert not (home / "digests.json").exists()
    path.unlink()
    assert fetch_published(MODEL).read_bytes() == CONTENT


@pytest.mark.parametrize("by_hand", [True, False])
def test_after_a_file_that_is_not_the_model_another_is_taken(server, home, by_hand):
    """The advice of the error is followed; the server has the right file by then."""
    path = home / "mixer_models" / "gsam" / "Mixer-S_16.npz"
    if by_hand:
        path.parent.mkdir(parents=True)
        path.write_bytes(CONTENT[:HALF])  # as a download with another program leaves it
    for _ in range(2):
        with pytest.raises(CheckpointError, match=r"not s16-gsam\. Delete the file to download it again"):
            load_checkpoint("s16-gsam")
    path.unlink()
    server.files[URL_PATH] = make_npz(9)
    assert fetch_published(MODEL).read_bytes() == make_npz(9)


def test_a_file_recorded_for_one_model_is_no_other(server, home, tmp_path):
    other = CATALOG["b16-sam"]
    recorded = fetch_published(MODEL)
    path = home / "mixer_models" / other.url_path
    path.parent.mkdir(parents=True)
    path.write_bytes(CONTENT)
    with pytest.raises(CheckpointError, match=r"Mixer-B_16.npz: this is s16-gsam by its SHA-256, not b16-sam"):
        fetch_published(other)
    path.unlink()
    server.files[other.url_path] = CONTENT
    with pytest.raises(CheckpointError, match=r"records this digest for s16-gsam\. The file is not b16-sam"):
        fetch_published(other)
    assert leftovers(home) == []
    assert known_digest(recorded) is MODEL
    server.files[other.url_path] = make_npz(1)
    assert fetch_published(other).read_bytes() == make_npz(1)


def test_a_digest_that_two_models_claim_tells_nothing(server, home):
    path = fetch_published(MODEL)
    records = json.loads((home / "digests.json").read_text())
    records["sam/Mixer-B_16.npz"] = records[URL_PATH] | {"model": "b16-sam"}
    (home / "digests.json").write_text(json.dumps(records))
    assert known_digest(path) is None


def test_a_wrong_digest_is_refused_and_poisons_nothing(server, home):
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


def test_a_published_digest_goes_before_a_recorded_one(server):
    model = replace(MODEL, sha256=hashlib.sha256(make_npz(1)).hexdigest())
    with pytest.raises(CheckpointError, match="is published"):
        fetch_published(model)
    server.files[URL_PATH] = make_npz(1)
    assert fetch_published(model).read_bytes() == make_npz(1)


def test_the_md5_that_googles_storage_announces_is_checked(server, home):
    server.md5 = md5_of(CONTENT)
    server.faults.wrong_bytes = True
    with pytest.raises(CheckpointError, match="damaged on the way"):
        fetch_published(MODEL)
    assert not (home / "digests.json").exists()
    assert leftovers(home) == []
    server.faults.wrong_bytes = False
    assert fetch_published(MODEL).read_bytes() == CONTENT


def test_a_web_page_in_place_of_the_file_is_neither_kept_nor_recorded(server, home):
    server.files[URL_PATH] = b"<html>Please log in to this hotel</html>"
    with pytest.raises(CheckpointError, match=r"not an \.npz file; it starts with b'<html>Please"):
        fetch_published(MODEL)
    assert not is_cached(MODEL)
    assert not (home / "digests.json").exists()
    server.files[URL_PATH] = CONTENT
    assert fetch_published(MODEL).read_bytes() == CONTENT


def test_offline_the_cache_serves(server, monkeypatch):
    path = fetch_published(MODEL)
    server.stop()
    for name in ("ALLMLP_OFFLINE", "HF_HUB_OFFLINE"):
        monkeypatch.setenv(name, "1")
        assert fetch_published(MODEL) == path
        monkeypatch.delenv(name)
    assert fetch_published(MODEL) == path  # nor is a network needed that is not forbidden


@pytest.mark.parametrize("name", ["ALLMLP_OFFLINE", "HF_HUB_OFFLINE"])
def test_offline_what_is_not_cached_is_an_error_that_names_the_way_out(server, monkeypatch, name):
    monkeypatch.setenv(name, "true")
    with pytest.raises(CheckpointError, match=r"s16-gsam: .*Mixer-S_16.npz is not in the cache, and .* Unset it, copy"):
        fetch_published(MODEL)
    assert server.requests == []


def test_a_cached_file_that_was_changed_is_never_used(server, monkeypatch):
    path = fetch_published(MODEL)
    path.write_bytes(CONTENT[:HALF])
    monkeypatch.setenv("ALLMLP_OFFLINE", "1")
    with pytest.raises(CheckpointError, match="has changed since it was downloaded"):
        fetch_published(MODEL)
    monkeypatch.delenv("ALLMLP_OFFLINE")
    assert fetch_published(MODEL).read_bytes() == CONTENT


def test_a_cached_file_that_was_copied_is_known_by_its_content(server, home):
    path = fetch_published(MODEL)
    path.write_bytes(CONTENT)
    os.utime(path, ns=(1, 1))
    assert fetch_published(MODEL) == path
    (home / "digests.json").unlink()
    assert fetch_published(MODEL) == path
    assert len(server.requests) == 1


@pytest.mark.parametrize("status", [403, 404])
def test_an_error_that_will_not_pass_is_told_at_once(server, status):
    server.faults.status = status
    with pytest.raises(CheckpointError, match=f"answered {status} .* ALLMLP_MIXER_MODELS_URL"):
        fetch_published(MODEL)
    assert len(server.requests) == 1


def test_a_servers_trouble_is_tried_a_few_times(server):
    server.faults.status = 503
    with pytest.raises(CheckpointError, match="answered 503"):
        fetch_published(MODEL)
    assert len(server.requests) == http_file.MAX_TRIES


def test_a_failure_says_where_to_put_the_file_so_that_it_is_known_by_name(server, home):
    server.stop()
    with pytest.raises(CheckpointError) as caught:
        fetch_published(MODEL)
    path = home / "mixer_models" / URL_PATH
    assert f"put it at {path}, where it keeps its class names" in str(caught.value)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(CONTENT)
    assert fetch_published(MODEL) == path


def test_no_server_at_all_is_one_clear_error(server):
    server.stop()
    with pytest.raises(CheckpointError, match=r"could not be downloaded: .*refused.* HTTPS_PROXY"):
        fetch_published(MODEL)


def test_a_server_that_falls_silent_is_given_up(server, tmp_path):
    server.faults.stalls = True
    with pytest.raises(CheckpointError, match="timed out"):
        http_file.receive(f"{server.url}/{URL_PATH}", tmp_path / "x.part", timeout_s=0.2)


def test_passwords_and_keys_of_an_address_are_not_shown(home, monkeypatch):
    for mirror in ("http://user:secret@127.0.0.1:9/x?key=secret", "ftp://user:secret@host/x"):
        monkeypatch.setenv("ALLMLP_MIXER_MODELS_URL", mirror)
        with pytest.raises(CheckpointError) as caught:
            fetch_published(MODEL)
        assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    "mirror",
    [
        "http://user:secret@127.0.0.1", "http://user:secret@127.0.0.1:9", "http://user:se/secret@host", "http://[::1/secret",
        "http://host:secret/", "http://host/x?key=secret", "http://host/#secret", "http://" + "a" * 70 + ".secret/",
        "http://exa mple/secret", "http:///secret\n",
    ],
)  # fmt: skip
def test_a_mistyped_mirror_is_one_clear_error_that_shows_no_secret(home, monkeypatch, mirror):
    monkeypatch.setenv("ALLMLP_MIXER_MODELS_URL", mirror)
    with pytest.raises(CheckpointError, match=r"^ALLMLP_MIXER_MODELS_URL .*expected an address with http://") as caught:
        fetch_published(MODEL)
    assert "secret" not in str(caught.value)
    assert leftovers(home) == []


@pytest.mark.parametrize("mirror", ["ftp://host/x", "file:///etc/passwd", "host/x", "http://"])
def test_a_mirror_that_is_no_web_server_is_refused(home, monkeypatch, mirror):
    monkeypatch.setenv("ALLMLP_MIXER_MODELS_URL", mirror)
    with pytest.raises(CheckpointError, match=rf"ALLMLP_MIXER_MODELS_URL is {mirror}, which is not an HTTP address"):
        fetch_published(MODEL)


@pytest.mark.parametrize("target", ["http://[::1", "http://" + "a" * 70 + "/x", "http://u:secret@127.0.0.1:x/"])
def test_a_server_that_sends_on_to_what_is_no_address_is_one_clear_error(server, target):
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


def test_two_processes_at_once_end_with_one_good_file_from_one_download(server, home):
    children = [subprocess.Popen(FETCH, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    paths = {child.communicate(timeout=120)[0].strip() for child in children}
    assert [child.returncode for child in children] == [0, 0]
    assert paths == {str(home / "mixer_models" / "gsam" / "Mixer-S_16.npz")}
    assert Path(paths.pop()).read_bytes() == CONTENT
    assert len(server.requests) == 1
    assert leftovers(home) == []


def test_threads_that_record_at_once_lose_nothing(server, home):
    names = ["b16-sam", "b32-sam", "b16-gsam", "b32-gsam", "s16-gsam", "s32-gsam", "s8-gsam"]
    for name in names:
        server.files[CATALOG[name].url_path] = make_npz(len(server.files), 1000)
    threads = [threading.Thread(target=fetch_published, args=(CATALOG[name],)) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(json.loads((home / "digests.json").read_text())) == len(names)


def test_a_file_is_known_by_its_content_wherever_it_lies(server, tmp_path, home):
    copy = tmp_path / "weights.npz"
    copy.write_bytes(CONTENT)
    assert known_digest(copy) is None
    fetch_published(MODEL)
    assert known_digest(copy) is MODEL
    copy.write_bytes(CONTENT[:-1] + b"x")
    assert known_digest(copy) is None


def test_a_damaged_record_is_refused(server, home):
    fetch_published(MODEL)
    for damage in ("{", "[]", '{"a": {}}', '{"a": 1}', '{"a": {"sha256": 1, "size": 1, "mtime_ns": 1, "model": null}}'):
        (home / "digests.json").write_text(damage)
        with pytest.raises(CheckpointError, match="record of download digests cannot be read"):
            fetch_published(MODEL)


def test_a_damaged_record_is_told_before_the_download_and_costs_none(server, home):
    home.mkdir()
    (home / "digests.json").write_text("{")
    with pytest.raises(CheckpointError, match="record of download digests cannot be read"):
        fetch_published(MODEL)
    assert server.requests == []


def test_a_download_that_cannot_be_recorded_is_kept(server, home):
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
def test_files_elsewhere_do_not_need_the_cache(tmp_path, monkeypatch, home, damage):
    home.mkdir()
    (home / "digests.json").write_text("{")
    if damage == "a cache below a file":
        monkeypatch.setenv("ALLMLP_HOME", str(home / "digests.json" / "x"))
    elif damage == "no home":
        monkeypatch.setenv("ALLMLP_HOME", "~nobody-of-this-name/x")
    assert known_digest(GOLDEN / "tiny_linen.npz") is None
    assert not is_cached(MODEL)
    assert load_checkpoint(GOLDEN / "tiny_linen.npz").config.num_classes == 7


def test_without_a_home_the_way_out_is_named(server, monkeypatch):
    monkeypatch.setenv("ALLMLP_HOME", "~nobody-of-this-name/x")
    with pytest.raises(CheckpointError, match="Set ALLMLP_HOME to a folder"):
        fetch_published(MODEL)


def test_an_empty_file_is_not_taken_for_a_download(server, home):
    path = home / "mixer_models" / "gsam" / "Mixer-S_16.npz"
    path.parent.mkdir(parents=True)
    path.touch()
    assert not is_cached(MODEL)
    assert fetch_published(MODEL).read_bytes() == CONTENT


def test_a_cache_that_cannot_be_written_is_one_clear_error(server, home):
    home.write_text("a file")
    with pytest.raises(CheckpointError, match="ALLMLP_HOME"):
        fetch_published(MODEL)


def test_the_cache_follows_the_usual_variables(server, home, tmp_path, monkeypatch):
    monkeypatch.delenv("ALLMLP_HOME")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert fetch_published(MODEL) == tmp_path / "xdg" / "allmlp" / "mixer_models" / "gsam" / "Mixer-S_16.npz"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path / "user"))
    assert fetch_published(MODEL) == tmp_path / "user/.cache/allmlp/mixer_models/gsam/Mixer-S_16.npz"


def test_nothing_is_printed_where_nobody_looks(server, capfd):
    fetch_published(MODEL)
    assert capfd.readouterr() == ("", "")


def test_a_bar_is_drawn_on_a_terminal(server):
    terminal, its_end = os.openpty()
    fcntl.ioctl(its_end, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 100, 0, 0))  # else it has no columns to draw on
    with (
        os.fdopen(terminal, "rb", buffering=0) as shown,
        subprocess.Popen(LOAD, stderr=its_end, stdout=subprocess.DEVNULL, env={**os.environ, "TERM": "xterm"}),
    ):
        os.close(its_end)
        drawn = b""
        with contextlib.suppress(OSError):  # how Linux says that nobody holds the other end any more
            while part := shown.read(4096):
                drawn += part
    assert b"Downloading" in drawn
    assert b"1.6/1.6 MB" in drawn


def test_progress_is_reported_from_what_had_arrived_before_to_the_end(server, home):
    server.faults.cut_after, server.faults.num_cuts = HALF, 1
    reported: list[tuple[int, int]] = []
    fetch_published(MODEL, report_progress=lambda done, total: reported.append((done, total)))
    assert (HALF, len(CONTENT)) in reported
    assert reported == sorted(set(reported))
    assert reported[-1] == (len(CONTENT), len(CONTENT))


def test_the_file_itself_is_asked_for_not_a_compressed_form(server):
    fetch_published(MODEL)
    assert [request.headers["accept-encoding"] for request in server.requests] == ["identity"]


@pytest.mark.slow
def test_a_file_of_real_size_arrives_after_a_cut(server, home):
    content = make_npz(3, 59_880_472)  # B/16
    server.files["imagenet1k/Mixer-B_16.npz"] = content
    server.faults.cut_after, server.faults.num_cuts = 100_000_000, 1
    assert fetch_published(CATALOG["b16-i1k"]).read_bytes() == content
    assert server.requests[1].headers["range"] == "bytes=100000000-"


FETCH = [
    sys.executable,
    "-c",
    "from allmlp.checkpoints.sources.catalog import CATALOG\n"
    "from allmlp.checkpoints.sources.published import fetch_published\n"
    "print(fetch_published(CATALOG['s16-gsam']))",
]

LOAD = [sys.executable, "-c", "from allmlp.cli.arguments.checkpoint import load; load('s16-gsam')"]


def wait_until(condition) -> None:
    waiting = threading.Event()
    for _ in range(3000):
        if condition():
            return
        waiting.wait(0.02)
    raise AssertionError("it did not happen within a minute")
