"""Downloads of public data sets, from a server on this machine that can fail."""

import contextlib
import hashlib
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.data.stand_ins import WRITERS, datasets, packed, write_flowers
from tests.servers.files import FileServer

from allmlp.data import DATASETS, ImageDataset, download_dataset, open_dataset
from allmlp.data.public import download
from allmlp.errors import ConfigError, DataError, MissingExtraError


@contextlib.contextmanager
def served(name: str, made: Path, patch: pytest.MonkeyPatch) -> Iterator[FileServer]:
    """Serve a stand-in's archives, and let torchvision look for them there."""
    folder = WRITERS[name](made, patch)

    def md5(content: bytes) -> str:
        return hashlib.md5(content).hexdigest()

    with FileServer() as server:
        if name.startswith("cifar"):
            kind = datasets.CIFAR10 if name == "cifar10" else datasets.CIFAR100
            content = packed(made, folder.name)
            server.files[kind.filename] = content
            patch.setattr(kind, "url", f"{server.url}/{kind.filename}")
            patch.setattr(kind, "tgz_md5", md5(content))
        elif name == "flowers102":
            content = packed(folder, "jpg")
            files = {**datasets.Flowers102._file_dict, "image": ("102flowers.tgz", md5(content))}
            server.files["102flowers.tgz"] = content
            for key in ("label", "setid"):
                server.files[files[key][0]] = (folder / files[key][0]).read_bytes()
            patch.setattr(datasets.Flowers102, "_file_dict", files)
            patch.setattr(datasets.Flowers102, "_download_url_prefix", f"{server.url}/")
        else:
            contents = {f"{part}.tar.gz": packed(folder, part) for part in ("images", "annotations")}
            server.files |= contents
            resources = tuple((f"{server.url}/{file}", md5(content)) for file, content in contents.items())
            patch.setattr(datasets.OxfordIIITPet, "_RESOURCES", resources)
        yield server


DOWNLOADED = tuple(name for name, named in DATASETS.items() if named.torchvision_class)


def content_of(dataset: ImageDataset) -> dict[str, list[tuple[str, bytes]]]:
    return {
        name: [(split.sample_ids[index], split.read(index)) for index in range(len(split))]
        for name, split in dataset.splits.items()
    }


@pytest.mark.parametrize("name", DOWNLOADED)
def test_a_download_brings_the_whole_data_set_and_leaves_nothing_else(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "target"
    monkeypatch.setenv("ALLMLP_DATA", str(target))
    with served(name, tmp_path / "made", monkeypatch) as server:
        assert download_dataset(name) == target / DATASETS[name].folder
        count = len(server.requests)
        assert download_dataset(name) == target / DATASETS[name].folder
        assert len(server.requests) == count > 0  # what is there is not fetched again
    assert content_of(open_dataset(name)) == content_of(open_dataset(f"{name}:{tmp_path / 'made'}"))
    assert [entry.name for entry in target.iterdir()] == [DATASETS[name].folder]
    assert not list(target.rglob("*gz"))


# Of one archive, of an archive and files, of two archives.
@pytest.mark.parametrize(
    ("name", "fault"),
    [
        ("cifar10", "status"),
        ("cifar100", "cut"),
        ("flowers102", "wrong_bytes"),
        ("flowers102", "cut"),
        ("pets", "status"),
        ("pets", "wrong_bytes"),
    ],
)
def test_a_download_that_fails_leaves_no_data_set_and_can_be_tried_again(
    name: str, fault: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    source = f"{name}:{tmp_path / 'target'}"
    with served(name, tmp_path / "made", monkeypatch) as server:
        server.faults.status = 503 if fault == "status" else None
        server.faults.wrong_bytes = fault == "wrong_bytes"
        if fault == "cut":
            server.faults.cut_after, server.faults.num_cuts = 100, 1000
        with pytest.raises(DataError, match=r"the download to .*target failed \(.*Try again"):
            download_dataset(source)
        assert not (tmp_path / "target" / DATASETS[name].folder).exists()
        with pytest.raises(DataError, match="not on this machine"):
            open_dataset(source)
        server.faults.status, server.faults.wrong_bytes, server.faults.num_cuts = None, False, 0
        download_dataset(source)
    assert content_of(open_dataset(source)) == content_of(open_dataset(f"{name}:{tmp_path / 'made'}"))


@pytest.mark.parametrize("name", DOWNLOADED)
def test_a_file_beyond_every_published_size_is_refused(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(download, "_MAX_FILE_BYTES", 10)
    with served(name, tmp_path / "made", monkeypatch), pytest.raises(DataError, match="more than the limit of 10"):
        download_dataset(f"{name}:{tmp_path / 'target'}")


def test_a_download_that_was_cut_goes_on_where_it_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = f"pets:{tmp_path / 'target'}"
    with served("pets", tmp_path / "made", monkeypatch) as server:
        server.faults.cut_after, server.faults.num_cuts = 100, 1
        download_dataset(source)
        assert any(request.headers.get("range") for request in server.requests)
    assert content_of(open_dataset(source)) == content_of(open_dataset(f"pets:{tmp_path / 'made'}"))


def test_what_was_unpacked_in_part_is_not_taken_for_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """torchvision takes the folders of the pets for the whole of them."""
    half = tmp_path / "target" / ".pets.download" / "oxford-iiit-pet"
    for part in ("images", "annotations"):
        (half / part).mkdir(parents=True)
    source = f"pets:{tmp_path / 'target'}"
    with served("pets", tmp_path / "made", monkeypatch):
        download_dataset(source)
    assert content_of(open_dataset(source)) == content_of(open_dataset(f"pets:{tmp_path / 'made'}"))


def test_downloads_that_cannot_be_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALLMLP_DATA", str(tmp_path))
    for source, words in {
        "imagenet": "imagenet cannot be downloaded automatically.*register at image-net.org",
        "clothing": "clothing comes with allmlp: there is nothing",
        "pet": "Unknown data set 'pet'.*Did you mean 'pets'",
    }.items():
        with pytest.raises(ConfigError, match=words):
            download_dataset(source)
    monkeypatch.setenv("ALLMLP_OFFLINE", "1")
    with pytest.raises(ConfigError, match="forbids the network"):
        download_dataset("pets")
    (tmp_path / "cifar-10-batches-py").mkdir()
    with pytest.raises(DataError, match=r"exists but cannot be used.*Delete it"):
        download_dataset("cifar10")


def test_without_scipy_the_one_command_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_flowers(tmp_path / "here", monkeypatch)
    monkeypatch.setitem(sys.modules, "scipy.io", None)  # as Python marks what cannot be imported
    with pytest.raises(MissingExtraError, match="pip install scipy"):
        open_dataset(f"flowers102:{tmp_path / 'here'}")
    with pytest.raises(MissingExtraError, match="pip install scipy"):
        download_dataset(f"flowers102:{tmp_path / 'there'}")
