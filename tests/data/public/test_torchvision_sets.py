"""Named data sets: what torchvision's own objects hold, photo by photo, and what a user hears who has none of it."""

import contextlib
import hashlib
import re
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.data.stand_ins import WRITERS, datasets, packed, photo, write, write_cifar, write_flowers, write_pets
from tests.servers.files import FileServer

from allmlp.data import DATASETS, ImageDataset, check_photos, decode, download_dataset, hold_out, open_dataset
from allmlp.errors import ConfigError, DataError, MissingExtraError

PUBLIC = tuple(name for name, named in DATASETS.items() if named.folder)


@pytest.fixture(scope="module")
def imagenet(tmp_path_factory: pytest.TempPathFactory) -> Path:
    with pytest.MonkeyPatch.context() as patch:
        return WRITERS["imagenet"](tmp_path_factory.mktemp("imagenet"), patch).parent


@pytest.fixture
def root(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of data sets, ALLMLP_DATA, with the stand-in that the test names."""
    name = request.param
    folder = request.getfixturevalue("imagenet") if name == "imagenet" else WRITERS[name](tmp_path, monkeypatch).parent
    monkeypatch.setenv("ALLMLP_DATA", str(folder))
    return Path(folder)


def test_every_public_data_set_has_a_stand_in() -> None:
    assert set(WRITERS) == set(PUBLIC)


def torchvisions(name: str, root: Path) -> dict[str, list[tuple[str, bytes]]]:
    """What torchvision has of each split: the class and the pixels of every photo, sorted."""
    kinds = {
        "cifar10": (datasets.CIFAR10, "train", {"train": True, "test": False}),
        "cifar100": (datasets.CIFAR100, "train", {"train": True, "test": False}),
        "flowers102": (datasets.Flowers102, "split", {"train": "train", "validation": "val", "test": "test"}),
        "pets": (datasets.OxfordIIITPet, "split", {"train": "trainval", "test": "test"}),
        "imagenet": (datasets.ImageNet, "split", {"train": "train", "test": "val"}),
    }
    kind, option, splits = kinds[name]
    if name == "imagenet":
        root = root / "imagenet"
        if not (root / "meta.bin").exists():  # torchvision's own list of names, which it makes of another archive
            words = {folder.name: (folder.name,) for folder in (root / "train").iterdir()}
            torch.save((words, []), root / "meta.bin")
    found = {}
    for split, value in splits.items():
        part = kind(root, **{option: value})
        names = part.wnids if name == "imagenet" else part.classes
        found[split] = sorted((names[label], np.array(image.convert("RGB")).tobytes()) for image, label in part)
    return found


@pytest.mark.parametrize("root", PUBLIC, indirect=True)
def test_photos_labels_and_splits_are_torchvisions(root: Path, request: pytest.FixtureRequest) -> None:
    name = request.node.callspec.params["root"]
    dataset = open_dataset(name)
    wanted = torchvisions(name, root)
    assert dataset.splits.keys() == wanted.keys()
    names = dataset.class_names
    if name == "imagenet":
        from allmlp.data import label_names, synsets_of

        assert set(names) == set(label_names("imagenet-1k"))  # the names that published checkpoints have
        codes = dict(zip(label_names("imagenet-1k"), synsets_of(label_names("imagenet-1k")) or (), strict=True))
        names = tuple(codes[name] for name in names)
    for split, photos in dataset.splits.items():
        found = [
            (names[photos.labels[index]], decode(photos.read(index), name=photos.where(index)).tobytes())
            for index in range(len(photos))
        ]
        assert sorted(found) == wanted[split]


@pytest.mark.parametrize("root", PUBLIC, indirect=True)
def test_identities_are_stable_and_a_run_can_open_it_again(
    root: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = request.node.callspec.params["root"]
    dataset = open_dataset(name)
    monkeypatch.delenv("ALLMLP_DATA")
    folder = root / DATASETS[name].folder
    for source in (dataset.source, f"{name}:{root}", f"{name}:{folder}"):
        again = open_dataset(source)
        assert again.source == f"{name}:{folder}"
        for split in dataset.splits:
            assert again.splits[split].sample_ids == dataset.splits[split].sample_ids
            assert np.array_equal(again.splits[split].labels, dataset.splits[split].labels)
    for split in dataset.splits.values():
        assert split.sample_ids == tuple(sorted(set(split.sample_ids)))


def test_identities_are_known_by_value(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # A change would divide and shuffle every run that was begun before anew.
    firsts = {
        "cifar10": "thing 0/train-00000",
        "cifar100": "thing 0/train-00000",
        "flowers102": "gaura/image_00009.jpg",
        "pets": "Abyssinian/Abyssinian_1.jpg",
    }
    monkeypatch.setenv("ALLMLP_DATA", str(tmp_path))
    for name, first in firsts.items():
        WRITERS[name](tmp_path, monkeypatch)
        sample_ids = open_dataset(name).splits["train"].sample_ids
        assert sample_ids[0] == first, name


def test_arrays_can_be_held_out_and_checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_cifar(tmp_path, monkeypatch, kind="CIFAR10")
    dataset = hold_out(open_dataset(f"cifar10:{tmp_path}"), fraction=0.1, seed=0)
    assert {name: len(split) for name, split in dataset.splits.items()} == {"train": 130, "validation": 20, "test": 30}
    check_photos(dataset, splits=tuple(dataset.splits), num_workers=2)
    assert dataset.splits["validation"].where(0).startswith("cifar-10-batches-py: train photo ")
    counts = Counter(dataset.splits["validation"].labels.tolist())
    assert set(counts.values()) == {2}


# --- what is missing or damaged ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", PUBLIC)
def test_what_is_not_here_is_said_with_the_folder_the_command_and_the_terms(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ALLMLP_DATA", str(tmp_path))
    with pytest.raises(DataError) as caught:
        open_dataset(name)
    text = str(caught.value)
    assert f"there is no folder {tmp_path / DATASETS[name].folder}." in text
    assert f"Terms: {DATASETS[name].terms}." in text
    if name == "imagenet":
        assert "register at image-net.org" in text and "--download" not in text
    else:
        assert f"allmlp data {name} --download" in text


def test_the_folder_of_data_sets_is_among_the_downloads_by_default(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("ALLMLP_DATA", raising=False)
    monkeypatch.setenv("ALLMLP_HOME", str(tmp_path))
    with pytest.raises(DataError, match=re.escape(str(tmp_path / "datasets" / "flowers-102"))):
        open_dataset("flowers102")


def test_a_folder_of_ones_own_with_that_name_is_pointed_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ALLMLP_DATA", str(tmp_path / "elsewhere"))
    (tmp_path / "pets").mkdir()
    with pytest.raises(DataError, match=r"To open the local folder of that name, use \./pets"):
        open_dataset("pets")


@pytest.mark.parametrize(
    ("source", "words"), [("pets:", "no folder after the colon"), ("clothing:x", "comes with allmlp")]
)
def test_an_impossible_folder_is_refused(source: str, words: str) -> None:
    with pytest.raises(DataError, match=words):
        open_dataset(source)


def test_a_changed_file_of_cifar_is_not_unpickled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write_cifar(tmp_path, monkeypatch, kind="CIFAR10")
    trap = b"cpathlib\nPath\n(S'trapped'\ntR."  # a pickle that calls pathlib.Path
    (folder / "data_batch_3").write_bytes(trap)
    with pytest.raises(DataError, match="differ from the published ones"):
        open_dataset(f"cifar10:{tmp_path}")


def test_missing_and_unknown_classes_of_imagenet_are_named(tmp_path: Path, imagenet: Path) -> None:
    (tmp_path / "val").symlink_to(imagenet / "imagenet" / "val")
    (tmp_path / "train").mkdir()
    for folder in sorted((imagenet / "imagenet" / "train").iterdir())[1:]:
        (tmp_path / "train" / folder.name).symlink_to(folder)
    write(tmp_path / "train" / "cats" / "cat.jpg", photo(0))
    with pytest.raises(DataError) as caught:
        open_dataset(f"imagenet:{tmp_path}")
    assert "train/ has photos of 999 of the 1,000 classes; missing: n01440764\n" in str(caught.value)
    assert "train/ has folders that are not classes of ImageNet: cats" in str(caught.value)


@pytest.mark.parametrize("lacking", ["annotations/test.txt", "annotations/trainval.txt"])
def test_lists_of_pets_that_are_missing_are_named(
    lacking: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (write_pets(tmp_path, monkeypatch) / lacking).unlink()
    with pytest.raises(DataError, match=f"{lacking} cannot be read"):
        open_dataset(f"pets:{tmp_path}")


def test_a_photo_that_is_missing_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write_pets(tmp_path, monkeypatch)
    (folder / "images" / "Abyssinian_10.jpg").unlink()
    with pytest.raises(DataError, match=r"1 of 15 photos cannot be used.*\n.*Abyssinian_10\.jpg.*no such file"):
        check_photos(open_dataset(f"pets:{tmp_path}"), splits=("train", "test"))


def test_damaged_labels_of_flowers_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write_flowers(tmp_path, monkeypatch)
    (folder / "setid.mat").write_bytes(b"nothing")
    with pytest.raises(DataError, match=r"the labels in .* cannot be read"):
        open_dataset(f"flowers102:{tmp_path}")


def test_without_scipy_the_one_command_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_flowers(tmp_path / "here", monkeypatch)
    monkeypatch.setitem(sys.modules, "scipy.io", None)  # as Python marks what cannot be imported
    with pytest.raises(MissingExtraError, match="pip install scipy"):
        open_dataset(f"flowers102:{tmp_path / 'here'}")
    with pytest.raises(MissingExtraError, match="pip install scipy"):
        download_dataset(f"flowers102:{tmp_path / 'there'}")


# --- downloads, from a server on this machine ------------------------------------------------------------------------


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


@pytest.mark.parametrize("name", DOWNLOADED)
@pytest.mark.parametrize("fault", ["status", "wrong_bytes", "cut"])
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
