"""Servers that lie, machines that fail and caches that are damaged, on the way of tar shards from an address."""

import errno
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.data.photo_sources import SPLIT, contents, refusal, write_folder
from tests.data.sources.tar_shards.test_remote_shards import (
    INDEX,
    LIST,
    OPEN,
    address,
    cached,
    digest,
    files_of,
    served,
    tars,
    wait_for_prefetching,
)
from tests.servers.files import FileServer, LocalHandler

from allmlp.data import ShortageError, open_dataset, stored_photos, write_shards
from allmlp.data.sources.tar_shards import manifest, remote_shards
from allmlp.errors import DataError
from allmlp.io import http_download

PAGE = b"<!doctype html>\n<title>Not found</title>\n"


pytestmark = pytest.mark.usefixtures("cache")


@pytest.fixture
def shards(tmp_path: Path) -> Path:
    """Several shards per split, with their index."""
    write_shards(open_dataset(write_folder(tmp_path / "photos", SPLIT)), tmp_path / "shards", shard_bytes=20_000)
    open_dataset(tmp_path / "shards")
    assert (tmp_path / "shards" / INDEX).is_file()
    return tmp_path / "shards"


@pytest.fixture
def site(shards: Path) -> Iterator[FileServer]:
    with served(shards) as server:
        yield server


class Announcing(FileServer):
    """Announces `size` bytes for files whose path contains `where`, or no size, and sends what there is."""

    where = ""
    size: int | None = None

    def handler(self) -> type[LocalHandler]:
        class Handler(super().handler()):  # type: ignore[misc]
            def send_header(self, name: str, value: str) -> None:
                if name == "Content-Length" and self.site.where in self.route:
                    self.close_connection = True
                    if self.site.size is None:
                        return
                    value = str(self.site.size)
                super().send_header(name, value)

        return Handler


@pytest.fixture
def web(shards: Path) -> Iterator[str]:
    """The address of Python's own server of files, in another process: HTTP/1.0, without ranges and ETags."""
    command = [sys.executable, "-u", "-m", "http.server", "0", "--bind", "127.0.0.1", "--directory", str(shards.parent)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as server:
        assert server.stdout
        port = server.stdout.readline().split(" port ")[1].split()[0]
        yield f"http://127.0.0.1:{port}/shards/"
        server.terminate()


def wait_until(happened: Callable[[], object]) -> None:
    end = time.monotonic() + 60
    while not happened():
        assert time.monotonic() < end
        time.sleep(0.01)


def first(dataset: Any, split: str = "train") -> bytes:
    """Read the photo that is stored first."""
    content: bytes = dataset.splits[split].read(int(dataset.splits[split].storage_order()[0]))
    return content


# Servers


def test_the_server_of_python_is_enough(web: str, shards: Path) -> None:
    assert contents(open_dataset(web)) == contents(open_dataset(shards))


def test_a_shard_may_be_on_another_host(site: FileServer, shards: Path) -> None:
    with served(shards) as other:
        url = f"{other.url.replace('127.0.0.1', 'localhost')}/flowers"
        site.sent_on = {f"flowers/{name}": f"{url}/{name}" for name in files_of(shards)}
        assert contents(open_dataset(address(site))) == contents(open_dataset(shards))
        assert sorted(tars(other)) == sorted(path.name for path in shards.glob("*.tar"))


@pytest.mark.parametrize("name", [LIST, "classes.txt", INDEX, "train-000000.tar"])
@pytest.mark.parametrize(
    ("target", "reason"),
    [
        ("file:///etc/passwd", "redirects to an invalid URL"),
        ("file://localhost/etc/passwd", "redirects from http to file"),
        ("ftp://127.0.0.1/x", "redirects from http to ftp"),
        ("data:text/plain,x", "redirects to an invalid URL"),
        ("", "redirects to an invalid URL"),
        ("LOOP", "redirects more than 10 times"),
    ],
)
def test_a_redirect_that_leads_elsewhere_is_refused(name: str, target: str, reason: str, site: FileServer) -> None:
    site.sent_on[f"flowers/{name}"] = f"/flowers/{name}" if target == "LOOP" else target
    with pytest.raises(DataError, match=rf"/flowers/{name}: could not be downloaded: the server {reason}"):
        first(open_dataset(address(site)))


@pytest.mark.parametrize(("size", "reason"), [(10**14, "announces 100,000,000,000,000 bytes, more than the limit of")])
@pytest.mark.parametrize("name", [LIST, "classes.txt", INDEX, "train-000000.tar"])
def test_a_size_that_is_too_large_is_refused(name: str, size: int, reason: str, shards: Path, cache: Path) -> None:
    files = {f"flowers/{path}": content for path, content in files_of(shards).items()}
    with Announcing(files=files) as site:
        site.where, site.size = name, size
        with pytest.raises(DataError, match=rf"/flowers/{name}: could not be downloaded: the server {reason}"):
            first(open_dataset(address(site)))
    assert not list(cache.rglob("*.part"))


@pytest.mark.parametrize("name", [LIST, "train-000000.tar"])
def test_a_file_without_a_size_is_refused(name: str, shards: Path) -> None:
    files = {f"flowers/{path}": content for path, content in files_of(shards).items()}
    with Announcing(files=files) as site:
        site.where = name
        with pytest.raises(DataError, match=rf"/flowers/{name}: the server does not announce the size of the file"):
            first(open_dataset(address(site)))


@pytest.mark.parametrize("has_index", [False, True])
@pytest.mark.parametrize(
    ("name", "message"),
    [
        (LIST, r"shards.json: this list of shards cannot be read \(JSONDecodeError"),
        ("classes.txt", r"classes.txt: does not name the classes of the photos: dress, hat, shoes\. Upload the file"),
        ("train-000000.tar", r"train-000000.tar: this shard has changed, or is cut short: it has 41 bytes"),
    ],
)
def test_a_page_instead_of_a_file_is_refused(name: str, message: str, has_index: bool, site: FileServer) -> None:
    site.files[f"flowers/{name}"] = PAGE
    if not has_index:
        del site.files[f"flowers/{INDEX}"]
    with pytest.raises(DataError, match=message):
        first(open_dataset(address(site)))


def test_a_page_instead_of_the_index_is_ignored(site: FileServer, shards: Path) -> None:
    site.files[f"flowers/{INDEX}"] = PAGE
    assert contents(open_dataset(address(site))) == contents(open_dataset(shards))


def test_a_page_instead_of_all_files_is_refused(site: FileServer, cache: Path) -> None:
    site.files = dict.fromkeys(site.files, PAGE)
    assert "shards.json: this list of shards cannot be read" in refusal(address(site))
    with pytest.raises(DataError, match=r"shards.json: this list of shards cannot be read"):
        stored_photos(address(site))
    assert not list(cache.rglob("*.tar"))


def test_a_shard_that_changes_between_two_epochs_is_not_mixed_in(web: str, shards: Path) -> None:
    dataset = open_dataset(web)
    before = contents(dataset)
    wait_for_prefetching()
    for path in shards.glob("*.tar"):
        path.write_bytes(path.read_bytes()[:-1] + b"x")
    assert contents(dataset) == before  # from the cache
    for name in dataset.splits["train"].reader.photo_files():  # type: ignore[union-attr]
        name.unlink()
    with pytest.raises(ShortageError, match=r"train-000000.tar: this shard has changed, or is cut short"):
        first(dataset)


# Machines


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no SIGKILL")
@pytest.mark.parametrize("reads", ["open_dataset", "stored_photos"])
def test_a_download_that_is_killed_is_continued(reads: str, site: FileServer, shards: Path, cache: Path) -> None:
    code = (
        OPEN
        if reads == "open_dataset"
        else OPEN.replace("dataset = open_dataset", "import allmlp.data\nallmlp.data.stored_photos")
    )
    site.faults.where, site.faults.stalls = "train-000001", True
    command = [sys.executable, "-c", code, address(site)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as child:
        content = (shards / "train-000001.tar").read_bytes()
        part = cache / f"{digest(shards / 'train-000001.tar')}.part"
        wait_until(lambda: part.is_file() and part.stat().st_size == len(content) // 2)
        child.kill()
    assert part.stat().st_size == len(content) // 2
    assert digest(shards / "train-000001.tar") not in cached(cache)
    site.faults.stalls = False
    assert contents(open_dataset(address(site))) == contents(open_dataset(shards))
    assert [request.headers.get("range") for request in site.asked("GET", "train-000001")][-1] == (
        f"bytes={len(content) // 2}-"
    )
    wait_for_prefetching()
    assert not list(cache.glob("*.part"))


def test_a_part_that_was_damaged_is_downloaded_anew(site: FileServer, shards: Path, cache: Path) -> None:
    content = (shards / "train-000000.tar").read_bytes()
    site.faults.where, site.faults.cut_after, site.faults.num_cuts = "train-000000", 1000, 3
    with pytest.raises(ShortageError, match="the connection was cut"):
        first(open_dataset(address(site)))
    part = cache / f"{digest(shards / 'train-000000.tar')}.part"
    kept = part.stat().st_size
    assert 0 < kept < len(content)
    part.write_bytes(bytes(kept))  # as after a power failure
    assert first(open_dataset(address(site))) == first(open_dataset(shards))
    ranges = [request.headers.get("range") for request in site.asked("GET", "train-000000")]
    assert ranges[-2:] == [f"bytes={kept}-", None]


def test_a_full_disk_is_named_and_a_later_try_succeeds(
    site: FileServer, shards: Path, cache: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    class Full:
        def __init__(self, part: Path) -> None:
            self.file = part.open("ab")

        def __enter__(self) -> "Full":
            return self

        def __exit__(self, *_: object) -> None:
            self.file.close()

        def write(self, content: bytes) -> int:
            self.file.write(content[:1000])
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    dataset = open_dataset(address(site))
    is_full = threading.Event()
    is_full.set()
    open_part = http_download._open_to_append
    monkeypatch.setattr(
        http_download, "_open_to_append", lambda part: Full(part) if is_full.is_set() else open_part(part)
    )
    with pytest.raises(ShortageError, match=r"shards cannot be cached \(No space left on device\)"):
        first(dataset)
    wait_for_prefetching()
    assert not list(cache.glob("*.part*"))
    assert not cached(cache)
    is_full.clear()
    assert contents(dataset) == contents(open_dataset(shards))
    assert "Traceback" not in capfd.readouterr().err


# Caches


def test_a_shard_that_was_changed_in_the_cache_is_not_predicted(
    site: FileServer, shards: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    photos = stored_photos(address(site)) or []
    before = [photo.read() for photo in photos]
    assert before == [photo.read() for photo in stored_photos(shards) or ()]
    wait_for_prefetching()
    num_downloads = len(tars(site))
    path = cache / digest(shards / "train-000000.tar")
    content = path.read_bytes()
    photo = next(photo.read() for photo in photos if photo.path == path)
    changed = content.replace(photo, bytes(len(photo)))
    assert changed != content
    for is_new_process in (False, True):
        path.write_bytes(changed)
        if is_new_process:
            manifest._compared.clear()
        assert [photo.read() for photo in stored_photos(address(site)) or ()] == before
        assert path.read_bytes() == content
    wait_for_prefetching()
    assert tars(site)[num_downloads:] == ["train-000000.tar"] * 2
    path.write_bytes(changed)
    monkeypatch.setenv("ALLMLP_OFFLINE", "1")
    remote_shards._opened.cache_clear()
    with pytest.raises(DataError, match=r"train-000000.tar is not in the cache"):
        stored_photos(address(site))


def test_predictions_without_the_network_read_the_cache(
    site: FileServer, shards: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ALLMLP_OFFLINE", "1")
    with pytest.raises(DataError, match=r"shards.json is not in the cache, and ALLMLP_OFFLINE"):
        stored_photos(address(site))
    monkeypatch.delenv("ALLMLP_OFFLINE")
    before = [photo.read() for photo in stored_photos(address(site)) or ()]
    wait_for_prefetching()
    site.stop()
    monkeypatch.setenv("ALLMLP_OFFLINE", "1")
    assert [photo.read() for photo in stored_photos(address(site)) or ()] == before
