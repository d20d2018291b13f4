"""Small copies of public data sets in the very layout that torchvision downloads, with its digests set to theirs."""

import hashlib
import io
import pickle
import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torchvision
from PIL import Image
from scipy.io import savemat

from allmlp.data.public.imagenet_classes import synsets

datasets = torchvision.datasets


def photo(seed: int, *, side: int = 12) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, (side, side + seed % 3, 3), dtype=np.uint8)
    content = io.BytesIO()
    Image.fromarray(pixels).save(content, "JPEG")
    return content.getvalue()


def write(path: Path, content: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def digest(path: Path) -> str:
    return hashlib.md5(path.read_bytes()).hexdigest()


def write_cifar(root: Path, patch: pytest.MonkeyPatch, *, kind: str) -> Path:
    """Pickles of 30 photos each; the last class has no photo in the first of them."""
    base = getattr(datasets, kind)
    folder = root / base.base_folder
    key, count = ("labels", 10) if kind == "CIFAR10" else ("fine_labels", 100)
    generator = np.random.default_rng(count)
    summarise = {}
    for attribute in ("train_list", "test_list"):
        files = []
        for name, _ in getattr(base, attribute):
            content = {
                "data": generator.integers(0, 256, (30, 3072), dtype=np.uint8),
                key: [i % count for i in range(30)],
            }
            files.append([name, digest(write(folder / name, pickle.dumps(content)))])
        summarise[attribute] = files
    names = [f"thing {number}" for number in range(count)]
    meta = write(folder / base.meta["filename"], pickle.dumps({base.meta["key"]: names}))
    summarise["meta"] = {**base.meta, "md5": digest(meta)}
    for attribute, value in summarise.items():
        patch.setattr(base, attribute, value)
    return folder


def write_flowers(root: Path, patch: pytest.MonkeyPatch) -> Path:
    """24 photos of 4 of the 102 classes: numbers of photos and of classes count from 1."""
    folder = root / "flowers-102"
    for number in range(1, 25):
        write(folder / "jpg" / f"image_{number:05d}.jpg", photo(number))
    train = [3, 1, 9, 11]
    classes = [7 * (n - 1) + 1 if n in train else 7 * (train[n % 4] - 1) + 1 for n in range(1, 25)]
    savemat(str(folder / "imagelabels.mat"), {"labels": np.array(classes, dtype=np.uint8)})
    savemat(str(folder / "setid.mat"), {"trnid": train, "valid": [2, 20], "tstid": [4, 5, 6, 24, 23]})
    files = dict(datasets.Flowers102._file_dict)
    for key, name in (("label", "imagelabels.mat"), ("setid", "setid.mat")):
        files[key] = (name, digest(folder / name))
    patch.setattr(datasets.Flowers102, "_file_dict", files)
    return folder


def write_pets(root: Path, _: pytest.MonkeyPatch) -> Path:
    folder = root / "oxford-iiit-pet"
    breeds = ("Abyssinian", "american_bulldog", "Egyptian_Mau")
    for name, numbers in (("trainval", (1, 10, 100)), ("test", (2, 20))):
        lines = []
        for label, breed in enumerate(breeds, start=1):
            for number in numbers:
                write(folder / "images" / f"{breed}_{number}.jpg", photo(number + 7 * label))
                lines.append(f"{breed}_{number} {label} {1 + label % 2} {label}\n")
        write(folder / "annotations" / f"{name}.txt", "".join(lines).encode())
    return folder


def write_imagenet(root: Path, _: pytest.MonkeyPatch) -> Path:
    """Two photos a class to train on and one to validate on. They are not looked at one by one, so two contents will do."""
    folder = root / "imagenet"
    contents = [photo(seed) for seed in (0, 1)]
    for number, synset in enumerate(synsets("imagenet-1k")):
        write(folder / "train" / synset / f"{synset}_{number}.JPEG", contents[0])
        write(folder / "train" / synset / f"{synset}_{number + 1}.JPEG", contents[1])
        write(folder / "val" / synset / f"ILSVRC2012_val_{number:08d}.JPEG", contents[number % 2])
    return folder


WRITERS: dict[str, Callable[[Path, pytest.MonkeyPatch], Path]] = {
    "cifar10": lambda root, patch: write_cifar(root, patch, kind="CIFAR10"),
    "cifar100": lambda root, patch: write_cifar(root, patch, kind="CIFAR100"),
    "flowers102": write_flowers,
    "pets": write_pets,
    "imagenet": write_imagenet,
}


def packed(folder: Path, *entries: str) -> bytes:
    """Return a .tar.gz of entries in a folder."""
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w:gz") as archive:
        for entry in entries:
            archive.add(folder / entry, entry)
    return content.getvalue()
