"""Shards at an address are those of the local folder; what breaks on the way is named, and never used."""

import dataclasses
import hashlib
import json
import os
import pickle
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from tests.data.photo_sources import SPLIT, contents, refusal, write_folder
from tests.servers.files import FileServer

from allmlp.data import ShortageError, TarPhoto, open_dataset, open_numbered_photos, stored_photos, write_shards
from allmlp.data.bad_photos import skip_bad_photos
from allmlp.data.sources.tar_shards.index import index_paths, open_index, write_index
from allmlp.errors import DataError, MissingExtraError
from allmlp.io.remote_address import is_remote

INDEX = ".allmlp-index.arrow"
LIST = "shards.json"


pytestmark = pytest.mark.usefixtures("cache")


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Shards made by `write_shards`: several per split, and no index."""
    root = tmp_path_factory.mktemp("own")
    write_shards(open_dataset(write_folder(root / "photos", SPLIT)), root / "own", shard_bytes=20_000)
    assert len(list((root / "own").glob("test-*.tar"))) > 2
    return root / "own"


@pytest.fixture
def indexed(own: Path, tmp_path: Path) -> Path:
    """The same shards with their index."""
    folder = tmp_path / "indexed"
    folder.mkdir()
    for name, content in files_of(own).items():
        (folder / name).write_bytes(content)
    open_dataset(folder)
    assert (folder / INDEX).exists()
    return folder


def files_of(folder: Path) -> dict[str, bytes]:
    """Return what is uploaded: all, but not the index of `own`, which some tests write."""
    return {path.name: path.read_bytes() for path in folder.iterdir() if (folder.name, path.name) != ("own", INDEX)}


def served(folder: Path) -> FileServer:
    return FileServer(files={f"flowers/{name}": content for name, content in files_of(folder).items()})


@pytest.fixture
def site(own: Path) -> Iterator[FileServer]:
    with served(own) as server:
        yield server


@pytest.fixture
def indexed_site(indexed: Path) -> Iterator[FileServer]:
    with served(indexed) as server:
        yield server


def address(server: FileServer) -> str:
    return f"{server.url}/flowers/"


def in_memory(folder: Path, protocol: str = "memory") -> str:
    """Put the files of a folder into one of fsspec's file systems, and return their address."""
    fsspec = pytest.importorskip("fsspec")
    where = f"{protocol}://{hashlib.sha256(str(folder).encode()).hexdigest()[:8]}/flowers"
    filesystem, root = fsspec.core.url_to_fs(where)
    for name, content in files_of(folder).items():
        filesystem.pipe_file(f"{root}/{name}", content)
    return f"{where}/"


def change_list(site: FileServer, change: Callable[[dict[str, Any]], object]) -> None:
    """Change the list that the server has."""
    values = json.loads(site.files[f"flowers/{LIST}"])
    change(values)
    site.files[f"flowers/{LIST}"] = json.dumps(values).encode()


def tars(site: FileServer) -> list[str]:
    return [request.path.rpartition("/")[2] for request in site.asked("GET", ".tar")]


def cached(folder: Path) -> set[str]:
    return {path.name for path in folder.glob("*.tar")}


def digest(path: Path) -> str:
    return f"{hashlib.sha256(path.read_bytes()).hexdigest()}.tar"


def wait_for_prefetching() -> None:
    for thread in threading.enumerate():
        if thread.name == "allmlp-prefetch":
            thread.join(timeout=30)


@pytest.mark.parametrize("has_index", [False, True])
@pytest.mark.parametrize("kind", ["memory", "http"])
def test_photos_labels_and_order_are_those_of_the_folder(kind: str, has_index: bool, own: Path, indexed: Path) -> None:
    folder = indexed if has_index else own
    with served(folder) as site:
        source = address(site) if kind == "http" else in_memory(folder)
        local = open_dataset(folder)
        for _ in range(2):  # by the pass over all shards or the index at the address, and by the index in the cache
            remote = open_dataset(source)
            assert contents(remote) == contents(local)
            assert remote.source == source
            assert remote.class_names == local.class_names
            for name, split in local.splits.items():
                assert remote.splits[name].labels.tolist() == split.labels.tolist()
                assert remote.splits[name].storage_order().tolist() == split.storage_order().tolist()
                assert (remote.splits[name].reader.sizes() == split.reader.sizes()).all()  # type: ignore[union-attr]


def test_messages_name_the_address(site: FileServer) -> None:
    split = open_dataset(address(site)).splits["test"]
    index = split.sample_ids.index("dress/long/0.jpg")
    assert split.where(index).startswith(f"{site.url}/flowers/test-00000")
    assert split.where(index).endswith(".jpg (dress/long/0.jpg)")


def test_with_an_index_only_shards_that_are_read_are_downloaded(indexed_site: FileServer, cache: Path) -> None:
    dataset = open_dataset(address(indexed_site))
    assert tars(indexed_site) == []
    split = dataset.splits["test"]
    photos = [pickle.loads(pickle.dumps(split)).read(index) for index in range(len(split))]  # as in worker processes
    wait_for_prefetching()
    assert len(photos) == 13
    assert set(tars(indexed_site)) == {name for name in tars(indexed_site) if name.startswith("test-")}
    assert len(tars(indexed_site)) == len(set(tars(indexed_site))) == len(cached(cache))


def test_the_next_shard_is_downloaded_in_the_background(indexed_site: FileServer, indexed: Path, cache: Path) -> None:
    wait_for_prefetching()
    split = open_dataset(address(indexed_site)).splits["train"]
    split.read(int(split.storage_order()[0]))
    wait_for_prefetching()
    assert cached(cache) == {digest(indexed / f"train-00000{number}.tar") for number in (0, 1)}


def test_what_is_in_the_cache_is_not_downloaded_again(site: FileServer, own: Path) -> None:
    for _ in range(3):
        contents(open_dataset(address(site)))
    assert sorted(tars(site)) == sorted(path.name for path in own.glob("*.tar"))


def test_two_addresses_share_the_shards_that_are_equal(site: FileServer, own: Path) -> None:
    contents(open_dataset(address(site)))
    contents(open_dataset(in_memory(own)))
    with served(own) as mirror:
        assert contents(open_dataset(address(mirror))) == contents(open_dataset(own))
        assert tars(mirror) == []


def test_a_shard_that_is_replaced_with_its_list_is_the_new_one(site: FileServer, own: Path, tmp_path: Path) -> None:
    contents(open_dataset(address(site)))
    photos = write_folder(tmp_path / "photos", {path: b"new " + content for path, content in SPLIT.items()})
    write_shards(open_dataset(photos), tmp_path / "new", shard_bytes=20_000)
    site.files = served(tmp_path / "new").files
    assert contents(open_dataset(address(site))) == contents(open_dataset(tmp_path / "new"))


def test_an_index_of_other_shards_is_not_used(indexed: Path, own: Path, tmp_path: Path) -> None:
    photos = write_folder(tmp_path / "photos", {path: b"new " + content for path, content in SPLIT.items()})
    write_shards(open_dataset(photos), tmp_path / "new", shard_bytes=20_000)
    (tmp_path / "new" / INDEX).write_bytes((indexed / INDEX).read_bytes())
    expected = contents(open_dataset(photos))
    assert contents(open_dataset(in_memory(tmp_path / "new"))) == expected


def test_predictions_read_the_same_photos(site: FileServer, own: Path) -> None:
    local, remote = stored_photos(own), stored_photos(address(site))
    assert local and remote
    assert [photo.read() for photo in remote] == [photo.read() for photo in local]
    expected = [photo.name.replace(str(own), f"{site.url}/flowers") for photo in local]
    assert [photo.name for photo in remote] == expected
    one = [photo for photo in remote if photo.shard.endswith("/train-000001.tar")]
    opened = open_numbered_photos(one[0].shard)
    assert opened
    assert opened.names == [photo.name for photo in one]
    assert isinstance(one[0], TarPhoto)
    with pytest.raises(DataError, match=r"x.tar: shards.json does not list this shard"):
        stored_photos(f"{site.url}/flowers/x.tar")


# Faults on the way


@pytest.mark.parametrize("ignores_range", [False, True])
def test_a_connection_that_breaks_is_tried_again(site: FileServer, own: Path, ignores_range: bool) -> None:
    site.faults.where, site.faults.cut_after, site.faults.num_cuts = "train-000001", 1000, 2
    site.faults.ignores_range = ignores_range
    assert contents(open_dataset(address(site))) == contents(open_dataset(own))
    ranges = [request.headers.get("range") for request in site.asked("GET", "train-000001")]
    assert ranges == [None, "bytes=1000-", "bytes=1000-" if ignores_range else "bytes=2000-"]


@pytest.mark.parametrize("name", ["train-000001.tar", LIST, "classes.txt", INDEX])
def test_a_connection_that_breaks_always_is_named(name: str, indexed_site: FileServer, cache: Path) -> None:
    site = indexed_site
    # After one byte more each time: classes.txt is short, and its rest of 10 bytes would arrive whole.
    site.faults.where, site.faults.cut_after, site.faults.num_cuts = name, 1, 1000
    with pytest.raises(
        DataError, match=rf"/flowers/{name}: could not be downloaded: the connection was cut after \d+ of"
    ):
        contents(open_dataset(address(site)))
    wait_for_prefetching()
    assert site.faults.num_cuts <= 997
    assert not [path for path in cache.glob("*.tar") if digest(path) != path.name]


class Broken:
    """A file that breaks after some bytes."""

    def __init__(self, file: Any, limit: int) -> None:
        self.file, self.limit = file, limit

    def __enter__(self) -> "Broken":
        return self

    def __exit__(self, *_: object) -> None:
        """Leave the file in memory."""

    def seek(self, offset: int) -> None:
        self.file.seek(offset)

    def read(self, size: int) -> bytes:
        if self.limit == 0:
            raise ConnectionResetError(104, "Connection reset by peer")
        content: bytes = self.file.read(min(size, self.limit))
        self.limit -= len(content)
        return content


@pytest.fixture
def flaky(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A file system of fsspec, "flaky", whose connections break after `cuts[0]`, `cuts[1]`, ... bytes."""
    fsspec = pytest.importorskip("fsspec")
    from fsspec.implementations.memory import MemoryFileSystem

    class Flaky(MemoryFileSystem):  # type: ignore[misc]
        protocol = "flaky"
        store: ClassVar[dict[str, Any]] = {}
        pseudo_dirs: ClassVar[list[str]] = [""]
        cuts: ClassVar[list[int]] = []
        where = "train-000001"

        @classmethod
        def _strip_protocol(cls, path: str) -> str:
            return str(MemoryFileSystem._strip_protocol(path.replace("flaky://", "memory://")))

        def _open(self, path: str, mode: str = "rb", **options: Any) -> Any:
            file = super()._open(path, mode, **options)
            return Broken(file, self.cuts.pop(0)) if "r" in mode and self.where in path and self.cuts else file

    fsspec.register_implementation("flaky", Flaky, clobber=True)
    return Flaky


def test_storage_that_breaks_is_tried_again_from_where_it_broke(flaky: Any, own: Path) -> None:
    flaky.cuts.extend([5000, 0, 5000])
    assert contents(open_dataset(in_memory(own, "flaky"))) == contents(open_dataset(own))
    assert flaky.cuts == []


def test_storage_that_breaks_always_is_named_and_leaves_nothing(flaky: Any, own: Path, cache: Path) -> None:
    flaky.cuts.extend([5000] + [0] * 100)
    with pytest.raises(
        DataError, match=r"train-000001.tar: could not be downloaded: .*Connection reset by peer. Try again"
    ):
        open_dataset(in_memory(own, "flaky"))
    wait_for_prefetching()
    assert digest(own / "train-000001.tar") not in cached(cache)
    assert not list(cache.glob("*.part"))


@pytest.mark.parametrize("kind", ["memory", "http"])
@pytest.mark.parametrize(
    "change", [lambda content: content[:-1] + b"x", lambda content: content[:-512], lambda content: content + b"x"]
)
def test_a_shard_that_changed_is_named_and_not_kept(
    change: Callable[[bytes], bytes], kind: str, indexed: Path, cache: Path
) -> None:
    shard = indexed / "train-000000.tar"
    before = digest(shard)
    with served(indexed) as site:
        site.files["flowers/train-000000.tar"] = changed = change(shard.read_bytes())
        shard.write_bytes(changed)
        split = open_dataset(address(site) if kind == "http" else in_memory(indexed)).splits["train"]
        with pytest.raises(
            ShortageError, match=r"/train-000000.tar: .*shards.json lists it with [\d,]+ bytes and a SHA-256"
        ):
            split.read(int(split.storage_order()[0]))
    assert before not in cached(cache)


@pytest.mark.parametrize("has_index", [False, True])
@pytest.mark.parametrize("kind", ["memory", "http"])
def test_a_shard_that_is_missing_is_named(kind: str, has_index: bool, own: Path, indexed: Path, tmp_path: Path) -> None:
    folder = tmp_path / "less"
    folder.mkdir()
    for name, content in files_of(indexed if has_index else own).items():
        if name != "train-000001.tar":
            (folder / name).write_bytes(content)
    message = r"/train-000001.tar: this shard is missing there, or may not be read, but shards.json lists it"
    with served(folder) as site:
        source = address(site) if kind == "http" else in_memory(folder)
        if not has_index:
            assert re.search(message, refusal(source))
            return
        dataset = open_dataset(source)  # of which no shard is needed yet
        with pytest.raises(ShortageError, match=message):
            contents(dataset)


def test_photos_of_a_shard_that_is_missing_are_not_skipped_as_bad(indexed_site: FileServer) -> None:
    dataset = open_dataset(address(indexed_site))
    del indexed_site.files["flowers/test-000001.tar"]
    test_only = dataclasses.replace(dataset, splits={"test": dataset.splits["test"]})
    with pytest.raises(ShortageError, match=r"test-000001.tar: this shard is missing"):
        skip_bad_photos(test_only, num_workers=0)


@pytest.mark.parametrize("status", [403, 404])
@pytest.mark.parametrize("name", [LIST, "classes.txt"])
def test_an_address_without_a_list_says_what_to_do(name: str, status: int, site: FileServer) -> None:
    del site.files[f"flowers/{name}"]
    if status == 403:
        site.faults.status = 403
        name = LIST
    message = refusal(address(site))
    assert f"{site.url}/flowers/{name}: there is no such file, or it may not be read" in message
    assert "`allmlp shard PHOTOS DIR`, and upload all files in DIR" in message


def test_a_server_that_cannot_be_reached_is_named(site: FileServer) -> None:
    source = address(site)
    site.stop()
    assert f"{source}{LIST}: could not be downloaded: " in refusal(source)


# What a server may not do


@pytest.mark.parametrize(
    "name",
    ["../x.tar", "/etc/x.tar", "a/x.tar", "..\\x.tar", "C:x.tar", ".x.tar", "x.tar\n", "x.tar?a", "%2e%2e/x.tar", "x"],
)
def test_a_list_names_no_path(name: str, site: FileServer, tmp_path: Path) -> None:
    change_list(site, lambda values: values["shards"][0].update(name=name))
    before = set(tmp_path.rglob("*"))
    assert "which is not the name of a shard in this folder" in refusal(address(site))
    assert tars(site) == []
    assert set(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sha256": "../../x"}, "invalid size or SHA-256"),
        ({"sha256": "A" * 64}, "invalid size or SHA-256"),
        ({"size": -1}, "invalid size or SHA-256"),
        ({"size": float("inf")}, "cannot be read"),
        ({"size": None}, "cannot be read"),
    ],
)
def test_an_invalid_list_is_refused(changes: dict[str, Any], message: str, site: FileServer) -> None:
    change_list(site, lambda values: values["shards"][0].update(changes))
    assert message in refusal(address(site))


@pytest.mark.parametrize("content", [b"", b"<html>", b"[" * 100_000, b"{}", b'{"format": "allmlp shards, version 1"}'])
def test_what_is_no_list_is_refused(content: bytes, site: FileServer, cache: Path) -> None:
    contents(open_dataset(address(site)))
    kept = {path: path.read_bytes() for path in cache.rglob("*") if path.is_file()}
    site.files[f"flowers/{LIST}"] = content
    assert f"{site.url}/flowers/{LIST}: " in refusal(address(site))
    assert {path: path.read_bytes() for path in cache.rglob("*") if path.is_file()} == kept


def test_an_index_that_leads_out_of_the_cache_is_not_used(indexed: Path, tmp_path: Path) -> None:
    (tmp_path / "secret.tar").write_bytes(bytes(100_000))
    index = open_index(indexed / INDEX)
    assert index
    names = [[str(tmp_path / "secret.tar"), 1, 1] for _ in index.shards]
    local = contents(open_dataset(indexed))
    write_index([indexed / INDEX], index, np.arange(len(index.offsets)), {"info": {"shards": names}})
    remote = open_dataset(in_memory(indexed))
    assert any("the shards were indexed" in note for note in remote.notes)
    assert contents(remote) == local


# The cache


OPEN = """
import hashlib, sys
from allmlp.data import open_dataset
dataset = open_dataset(sys.argv[1])
split = dataset.splits["train"]
print(hashlib.sha256(b"".join(split.read(index) for index in range(len(split)))).hexdigest())
"""


def test_processes_that_start_together_download_each_shard_once(site: FileServer, own: Path) -> None:
    command = [sys.executable, "-c", OPEN, address(site)]
    children = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    answers = {child.communicate(timeout=120)[0] for child in children}
    assert [child.returncode for child in children] == [0, 0, 0]
    split = open_dataset(own).splits["train"]
    assert answers == {hashlib.sha256(b"".join(split.read(i) for i in range(len(split)))).hexdigest() + "\n"}
    assert sorted(tars(site)) == sorted(path.name for path in own.glob("*.tar"))


LITTLE_SPACE = "import resource\nresource.setrlimit(resource.RLIMIT_FSIZE, (9_000, 9_000))\n" + OPEN


@pytest.mark.skipif(sys.platform == "win32", reason="no limit of the size of a file")
def test_a_shard_that_does_not_fit_leaves_nothing(site: FileServer, cache: Path) -> None:
    command = [sys.executable, "-c", LITTLE_SPACE, address(site)]
    run = subprocess.run(command, check=False, capture_output=True, text=True, timeout=120)
    assert run.returncode == 1
    assert "shards cannot be cached (File too large)" in run.stderr
    assert "Set ALLMLP_HOME to use another folder for downloads." in run.stderr
    assert list(cache.glob("*.part")) == []
    assert not [path for path in cache.glob("*.tar") if digest(path) != path.name]


def test_a_cache_that_cannot_be_written_is_named(
    site: FileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_bytes(b"")
    monkeypatch.setenv("ALLMLP_HOME", str(tmp_path / "file"))
    assert "Set ALLMLP_HOME to use another folder for downloads." in refusal(address(site))


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may write everywhere")
def test_a_full_cache_that_is_only_read_is_enough(site: FileServer, own: Path, cache: Path) -> None:
    expected = contents(open_dataset(address(site)))
    folders = [path for path in (cache, *cache.rglob("*")) if path.is_dir()]
    for folder in folders:
        folder.chmod(0o555)
    try:
        assert contents(open_dataset(address(site))) == expected
        site.files = {**served(own).files, f"flowers/{LIST}": site.files[f"flowers/{LIST}"] + b"\n"}
        assert "Permission denied" in refusal(address(site))
    finally:
        for folder in folders:
            folder.chmod(0o755)


def test_without_the_network_only_the_cache_is_read(
    indexed_site: FileServer, indexed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ALLMLP_OFFLINE", "1")
    assert f"{LIST} is not in the cache, and ALLMLP_OFFLINE or HF_HUB_OFFLINE forbids downloads" in refusal(
        address(indexed_site)
    )
    assert indexed_site.requests == []
    monkeypatch.delenv("ALLMLP_OFFLINE")
    split = open_dataset(address(indexed_site)).splits["test"]
    photos = [split.read(index) for index in range(len(split))]
    wait_for_prefetching()
    num_requests = len(indexed_site.requests)
    monkeypatch.setenv("ALLMLP_OFFLINE", "1")
    dataset = open_dataset(address(indexed_site))
    assert [dataset.splits["test"].read(index) for index in range(len(split))] == photos
    with pytest.raises(DataError, match=r"train-000000.tar is not in the cache"):
        dataset.splits["train"].read(int(dataset.splits["train"].storage_order()[0]))
    assert len(indexed_site.requests) == num_requests


def test_a_shard_that_was_damaged_in_the_cache_is_named(indexed_site: FileServer, indexed: Path, cache: Path) -> None:
    split = open_dataset(address(indexed_site)).splits["test"]
    index = int(split.storage_order()[0])
    split.read(index)
    path = cache / digest(indexed / "test-000000.tar")
    content = path.read_bytes()
    path.write_bytes(content.replace(split.read(index), bytes(len(split.read(index)))))
    # Which says nothing about the photo, so that `--bad-photos skip` does not leave it out.
    with pytest.raises(ShortageError, match=rf"test-000000.tar: .*its shard in the cache has changed; delete {path}"):
        split.read(index)
    path.write_bytes(content[:-1])  # cut short: downloaded again
    assert split.read(index)


# Addresses


def test_what_is_an_address_of_shards() -> None:
    yes = ["s3://bucket", "s3://bucket.name", "gs://b/flowers/", "https://host/flowers", "memory://x/train-000000.tar"]
    yes += ["https://host/v1.2/", "HTTPS://host:80/x"]
    no = [
        "photos",
        "C:\\photos",
        "c://photos",
        "s3:/bucket",
        "file:///x/",
        "file://host/x/",
        "local://x/",
        "www.host/x/",
    ]
    no += [
        "https://host/photo.jpg",
        "s3://bucket/photos.zip",
        "hf:owner/name",
        "",
        "cifar10:s3/x",
        "photos/https://host/",
    ]
    assert [source for source in yes + no if is_remote(source)] == yes


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("ftp://user:secret@host/x/", "The address of the shards has a password"),
        ("https://host/x/?token=secret", "not the address of a folder"),
        ("simplecache::memory://x/", "there is no such file or folder"),
        ("memory://x::file:///etc/", "not the address of a folder"),
        ("https://user@host/x/", "The address of the shards is not a plain address"),
        ("https://host/x/train-000000.tar", r"give the address of its folder, https://host/x/."),
        ("https://host/photos.zip", "Only folders of tar shards are read from an address"),
    ],
)
def test_other_addresses_are_refused(source: str, message: str) -> None:
    answer = refusal(source)
    assert message in answer
    assert "secret" not in answer


def test_a_kind_of_storage_that_is_unknown_is_named() -> None:
    pytest.importorskip("fsspec")
    assert "nothing://x/shards.json: cannot be opened (Protocol not known: nothing)" in refusal("nothing://x/")


@pytest.mark.parametrize(
    ("source", "package"), [("s3://b/x/", "s3fs"), ("gs://b/x/", "gcsfs"), ("sftp://h/x/", "paramiko")]
)
def test_a_package_that_is_missing_is_named(source: str, package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("fsspec")
    monkeypatch.setitem(sys.modules, package, None)
    monkeypatch.delitem(sys.modules, "fsspec.implementations.sftp", raising=False)
    with pytest.raises(MissingExtraError, match=rf"addresses need {package}: pip install {package}"):
        open_dataset(source)


def test_the_extra_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "fsspec.core", None)
    with pytest.raises(MissingExtraError, match=r"s3:// addresses need fsspec: pip install 'allmlp\[remote\]'"):
        open_dataset("s3://bucket/x/")


def test_fsspec_is_not_imported_for_folders_and_for_http(own: Path, site: FileServer) -> None:
    code = OPEN + "assert 'fsspec' not in sys.modules\n"
    for source in (str(own), address(site)):
        subprocess.run([sys.executable, "-c", code, source], check=True, timeout=120, stdout=subprocess.DEVNULL)


def test_the_index_of_an_address_is_in_the_cache(site: FileServer, cache: Path) -> None:
    open_dataset(address(site))
    (folder,) = (path for path in cache.iterdir() if path.is_dir())
    assert index_paths(folder, None)[0].is_file()
