"""Public data sets: what torchvision's own objects hold, photo by photo, and damage by its name."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.data.stand_ins import WRITERS, datasets, photo, write, write_cifar, write_flowers, write_pets

from allmlp.data import DATASETS, check_photos, decode, hold_out, open_dataset
from allmlp.errors import DataError

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


def test_validation_photos_of_imagenet_that_are_missing_or_not_sorted_are_said(tmp_path: Path) -> None:
    write(tmp_path / "train" / "n01440764" / "0.jpg", photo(0))
    with pytest.raises(DataError, match="there is no folder val/; unpack the photos into val/<synset>/"):
        open_dataset(f"imagenet:{tmp_path}")
    for number in range(3):
        write(tmp_path / "val" / f"ILSVRC2012_val_{number:08d}.JPEG", photo(number))
    with pytest.raises(DataError, match=r"3 photos of val/ are in none of its folders \(ILSVRC2012_val_00000000\.JPEG"):
        open_dataset(f"imagenet:{tmp_path}")


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
