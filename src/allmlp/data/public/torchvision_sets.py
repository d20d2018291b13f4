"""Public data sets in the layout of torchvision's downloads, with their official splits."""

import importlib
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from allmlp.data.dataset import ImageDataset, SplitName
from allmlp.data.public.imagenet_classes import label_names, synsets
from allmlp.data.sources.array_reader import ArrayReader
from allmlp.data.sources.assemble import FoundSplit, assemble, raise_problems
from allmlp.data.sources.file_reader import FileReader
from allmlp.data.sources.folder import list_folder
from allmlp.errors import DataError, MissingExtraError
from allmlp.io.display import counted, escape, summarise

__all__ = ["mat_reader", "open_cifar10", "open_cifar100", "open_flowers102", "open_imagenet", "open_pets"]


def open_cifar10(source: str, folder: Path) -> ImageDataset:
    """Open the folder cifar-10-batches-py."""
    return _cifar(source, folder, "CIFAR10")


def open_cifar100(source: str, folder: Path) -> ImageDataset:
    """Open the folder cifar-100-python, with the 100 fine classes."""
    return _cifar(source, folder, "CIFAR100")


def _cifar(source: str, folder: Path, kind: str) -> ImageDataset:
    base: Any = getattr(importlib.import_module("torchvision.datasets"), kind)
    # The files are pickles. torchvision opens only files with the published digests.
    in_folder = type(kind, (base,), {"base_folder": folder.name})
    found: dict[SplitName, FoundSplit] = {}
    names: list[str] = []
    splits: tuple[SplitName, ...] = ("train", "test")
    for split in splits:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # NumPy warns about such old pickles
            try:
                part = in_folder(folder.parent, train=split == "train")
            except (RuntimeError, OSError) as error:
                raise DataError(
                    f"{escape(source)}: files in {escape(folder)} are missing or differ from the published ones. Delete "
                    "this folder and download it again."
                ) from error
        names = list(part.classes)
        reader = ArrayReader(part.data, f"{folder.name}: {split} photo", np.arange(len(part.data), dtype=np.int64))
        paths = [f"{split}-{number:05d}" for number in range(len(part.data))]
        found[split] = FoundSplit(paths, [names[label] for label in part.targets], reader)
    return assemble(source, found, names)


def mat_reader() -> Callable[..., Any]:
    """Return SciPy's reader of MATLAB files, in which Flowers-102 stores its labels.

    Raises:
        MissingExtraError: SciPy is not installed.
    """
    try:
        reader: Callable[..., Any] = importlib.import_module("scipy.io").loadmat
    except ImportError as error:
        raise MissingExtraError(
            "flowers102 stores its labels in MATLAB files, which SciPy reads. Install it with: pip install scipy"
        ) from error
    return reader


def open_flowers102(source: str, folder: Path) -> ImageDataset:
    """Open the folder flowers-102: jpg/, imagelabels.mat and setid.mat.

    Raises:
        MissingExtraError: SciPy, which reads the labels, is not installed.
        DataError: files are missing or cannot be read.
    """
    loadmat = mat_reader()
    names = importlib.import_module("torchvision.datasets").Flowers102.classes
    try:
        labels = np.atleast_1d(loadmat(str(folder / "imagelabels.mat"), squeeze_me=True)["labels"]) - 1
        set_ids = loadmat(str(folder / "setid.mat"), squeeze_me=True)
        members: dict[SplitName, list[int]] = {
            "train": np.atleast_1d(set_ids["trnid"]).tolist(),
            "validation": np.atleast_1d(set_ids["valid"]).tolist(),
            "test": np.atleast_1d(set_ids["tstid"]).tolist(),
        }
        classes = {split: [names[labels[number - 1]] for number in members[split]] for split in members}
    except Exception as error:  # SciPy raises many kinds of errors for damaged files
        raise DataError(f"{escape(source)}: the labels in {escape(folder)} cannot be read ({error}).") from error
    found = {}
    for split, numbers in members.items():
        paths = [f"image_{number:05d}.jpg" for number in numbers]
        found[split] = FoundSplit(paths, classes[split], FileReader(folder / "jpg", tuple(paths)))
    return assemble(source, found, names)


def open_pets(source: str, folder: Path) -> ImageDataset:
    """Open the folder oxford-iiit-pet: images/, annotations/trainval.txt and annotations/test.txt.

    Raises:
        DataError: the lists are missing or cannot be read.
    """
    found: dict[SplitName, FoundSplit] = {}
    lists: dict[SplitName, str] = {"train": "trainval.txt", "test": "test.txt"}
    for split, name in lists.items():
        path = folder / "annotations" / name
        try:
            photos = [line.split()[0] for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
        except (OSError, ValueError) as error:
            raise DataError(f"{escape(source)}: {escape(path)} cannot be read ({error}).") from error
        # "american_bulldog_100" is a photo of an American Bulldog.
        classes = [" ".join(part.title() for part in photo.split("_")[:-1]) for photo in photos]
        paths = [f"{photo}.jpg" for photo in photos]
        found[split] = FoundSplit(paths, classes, FileReader(folder / "images", tuple(paths)))
    return assemble(source, found, {name for split in found.values() for name in split.class_names})


def open_imagenet(source: str, folder: Path) -> ImageDataset:
    """Open a folder with train/ and val/ of 1,000 folders each, named by synset (n01440764).

    Raises:
        DataError: classes are missing or unknown.
    """
    words = dict(zip(synsets("imagenet-1k"), label_names("imagenet-1k"), strict=True))
    found: dict[SplitName, FoundSplit] = {}
    problems = []
    folders: dict[SplitName, str] = {"train": "train", "test": "val"}
    for split, name in folders.items():
        if not (folder / name).is_dir():
            problems.append(
                f"there is no folder {name}/; unpack the photos into {name}/<synset>/, such as {name}/n01440764/"
            )
            continue
        photos = list_folder(folder / name).photos
        if loose := [photo for photo in photos if "/" not in photo]:
            problems.append(
                f"{counted(len(loose), 'photo')} of {name}/ {'is' if len(loose) == 1 else 'are'} in none of its folders "
                f"({summarise(loose, limit=2)}); move each into the folder of its synset, such as {name}/n01440764/, as "
                f'torchvision.datasets.ImageNet(folder, "{name}") does'
            )
            continue
        photo_synsets = [photo.partition("/")[0] for photo in photos]
        present = set(photo_synsets)
        if missing := sorted(words.keys() - present):
            num_found = len(words) - len(missing)
            problems.append(
                f"{name}/ has photos of {num_found:,} of the {len(words):,} classes; missing: {summarise(missing)}"
            )
        if unknown := sorted(present - words.keys()):
            problems.append(f"{name}/ has folders that are not classes of ImageNet: {summarise(unknown)}")
        found[split] = FoundSplit(
            photos, [words.get(synset, synset) for synset in photo_synsets], FileReader(folder / name, tuple(photos))
        )
    raise_problems(source, problems)
    note = "ImageNet's validation photos are used as the test split: the labels of its test photos are not public"
    return assemble(source, found, words.values(), [note])
