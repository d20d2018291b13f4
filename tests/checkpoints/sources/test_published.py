"""The authors' files: downloaded once, checked, and found in the cache (how they come: tests/io/test_http_download.py)."""

import contextlib
import fcntl
import hashlib
import json
import os
import struct
import subprocess
import sys
import termios
from pathlib import Path

import pytest
from tests.servers.files import FileServer
from tests.servers.mirror import CONTENT, FETCH, HALF, MODEL, URL_PATH, leftovers, make_npz

from allmlp import CheckpointError, load_checkpoint
from allmlp.checkpoints.sources.catalog import CATALOG
from allmlp.checkpoints.sources.published import fetch_published, is_cached, known_digest


def test_a_file_arrives_whole_once_and_its_digest_is_recorded(server: FileServer, home: Path) -> None:
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


def test_same_names_of_several_folders_do_not_meet_in_the_cache(server: FileServer) -> None:
    server.files["sam/Mixer-B_16.npz"] = make_npz(1)
    server.files["gsam/Mixer-B_16.npz"] = make_npz(2)
    assert fetch_published(CATALOG["b16-sam"]).read_bytes() == make_npz(1)
    assert fetch_published(CATALOG["b16-gsam"]).read_bytes() == make_npz(2)


def test_a_file_put_into_the_cache_by_hand_is_used_and_binds_nobody(server: FileServer, home: Path) -> None:
    path = home / "mixer_models" / "gsam" / "Mixer-S_16.npz"
    path.parent.mkdir(parents=True)
    path.write_bytes(make_npz(5))
    assert fetch_published(MODEL).read_bytes() == make_npz(5)
    assert not (home / "digests.json").exists()
    path.unlink()
    assert fetch_published(MODEL).read_bytes() == CONTENT


@pytest.mark.parametrize("by_hand", [True, False])
def test_after_a_file_that_is_not_the_model_another_is_taken(server: FileServer, home: Path, by_hand: bool) -> None:
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


def test_a_file_recorded_for_one_model_is_no_other(server: FileServer, home: Path, tmp_path: Path) -> None:
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


def test_a_web_page_in_place_of_the_file_is_neither_kept_nor_recorded(server: FileServer, home: Path) -> None:
    server.files[URL_PATH] = b"<html>Please log in to this hotel</html>"
    with pytest.raises(CheckpointError, match=r"not an \.npz file; it starts with b'<html>Please"):
        fetch_published(MODEL)
    assert not is_cached(MODEL)
    assert not (home / "digests.json").exists()
    server.files[URL_PATH] = CONTENT
    assert fetch_published(MODEL).read_bytes() == CONTENT


def test_offline_the_cache_serves(server: FileServer, monkeypatch: pytest.MonkeyPatch) -> None:
    path = fetch_published(MODEL)
    server.stop()
    for name in ("ALLMLP_OFFLINE", "HF_HUB_OFFLINE"):
        monkeypatch.setenv(name, "1")
        assert fetch_published(MODEL) == path
        monkeypatch.delenv(name)
    assert fetch_published(MODEL) == path  # nor is a network needed that is not forbidden


@pytest.mark.parametrize("name", ["ALLMLP_OFFLINE", "HF_HUB_OFFLINE"])
def test_offline_what_is_not_cached_is_an_error_that_names_the_way_out(
    server: FileServer, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv(name, "true")
    with pytest.raises(CheckpointError, match=r"s16-gsam: .*Mixer-S_16.npz is not in the cache, and .* Unset it, copy"):
        fetch_published(MODEL)
    assert server.requests == []


def test_a_failure_says_where_to_put_the_file_so_that_it_is_known_by_name(server: FileServer, home: Path) -> None:
    server.stop()
    with pytest.raises(CheckpointError) as caught:
        fetch_published(MODEL)
    path = home / "mixer_models" / URL_PATH
    assert f"put it at {path}, where it keeps its class names" in str(caught.value)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(CONTENT)
    assert fetch_published(MODEL) == path


def test_two_processes_at_once_end_with_one_good_file_from_one_download(server: FileServer, home: Path) -> None:
    children = [subprocess.Popen(FETCH, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    paths = {child.communicate(timeout=120)[0].strip() for child in children}
    assert [child.returncode for child in children] == [0, 0]
    assert paths == {str(home / "mixer_models" / "gsam" / "Mixer-S_16.npz")}
    assert Path(paths.pop()).read_bytes() == CONTENT
    assert len(server.requests) == 1
    assert leftovers(home) == []


def test_an_empty_file_is_not_taken_for_a_download(server: FileServer, home: Path) -> None:
    path = home / "mixer_models" / "gsam" / "Mixer-S_16.npz"
    path.parent.mkdir(parents=True)
    path.touch()
    assert not is_cached(MODEL)
    assert fetch_published(MODEL).read_bytes() == CONTENT


def test_nothing_is_printed_where_nobody_looks(server: FileServer, capfd: pytest.CaptureFixture[str]) -> None:
    fetch_published(MODEL)
    assert capfd.readouterr() == ("", "")


def test_a_bar_is_drawn_on_a_terminal(server: FileServer) -> None:
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


LOAD = [sys.executable, "-c", "from allmlp.cli.arguments.checkpoint import load; load('s16-gsam')"]
