"""Registry of public data sets: their names, terms and folders, and whether they are on this machine."""

import dataclasses
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from allmlp.data.dataset import ImageDataset
from allmlp.data.public.torchvision_sets import open_cifar10, open_cifar100, open_flowers102, open_imagenet, open_pets
from allmlp.data.sources.parquet import open_parquet
from allmlp.errors import DataError
from allmlp.io.cache_folder import cache_folder
from allmlp.io.display import escape

__all__ = [
    "DATASETS",
    "PublicDataset",
    "absolute_source",
    "is_downloaded",
    "is_public_name",
    "named_folder",
    "open_public",
]


@dataclass(frozen=True, kw_only=True)
class PublicDataset:
    """A data set that is known by name.

    Attributes:
        summary: its contents and official splits.
        terms: its terms of use, as stated on its own page.
        folder: the name of its folder, as in torchvision; "" for a data set that comes with allmlp.
        marker: an entry of that folder, by which the folder is recognised under another name.
        open: opens the data set, given the source as text and the folder.
        torchvision_class: the class of torchvision.datasets that downloads it; None without an automatic download.
        size: the size of the download.
        by_hand: how to get it without an automatic download.
    """

    summary: str
    terms: str
    folder: str = ""
    marker: str = ""
    open: Callable[[str, Path], ImageDataset]
    torchvision_class: str | None = None
    size: str = ""
    by_hand: str = ""


def _clothing(source: str, folder: Path) -> ImageDataset:
    return open_parquet(source, folder, [folder / "train.parquet", folder / "test.parquet"])


DATASETS: Mapping[str, PublicDataset] = {
    "clothing": PublicDataset(
        summary="10 kinds of clothing, 64 × 64 pixels: train 1,000, test 372; comes with allmlp",
        terms="CC0; see samples/clothing/README.md in the package",
        open=_clothing,
    ),
    "cifar10": PublicDataset(
        summary="10 kinds of animals and vehicles, 32 × 32 pixels: train 50,000, test 10,000",
        terms="its page states no licence; it asks for a citation of Krizhevsky 2009 (www.cs.toronto.edu/~kriz/cifar.html)",
        folder="cifar-10-batches-py",
        marker="batches.meta",
        open=open_cifar10,
        torchvision_class="CIFAR10",
        size="170 MB",
    ),
    "cifar100": PublicDataset(
        summary="100 kinds of objects, 32 × 32 pixels: train 50,000, test 10,000",
        terms="its page states no licence; it asks for a citation of Krizhevsky 2009 (www.cs.toronto.edu/~kriz/cifar.html)",
        folder="cifar-100-python",
        marker="meta",
        open=open_cifar100,
        torchvision_class="CIFAR100",
        size="170 MB",
    ),
    "flowers102": PublicDataset(
        summary="Oxford Flowers, 102 kinds: train 1,020, validation 1,020, test 6,149",
        terms="its page states no licence; the photos belong to their owners (www.robots.ox.ac.uk/~vgg/data/flowers/102)",
        folder="flowers-102",
        marker="setid.mat",
        open=open_flowers102,
        torchvision_class="Flowers102",
        size="350 MB",
    ),
    "pets": PublicDataset(
        summary="Oxford-IIIT Pets, 37 breeds of cats and dogs: train 3,680, test 3,669",
        terms="CC BY-SA 4.0 according to its page; the photos belong to their owners (www.robots.ox.ac.uk/~vgg/data/pets)",
        folder="oxford-iiit-pet",
        marker="annotations",
        open=open_pets,
        torchvision_class="OxfordIIITPet",
        size="810 MB",
    ),
    "imagenet": PublicDataset(
        summary="ImageNet-1k (ILSVRC 2012): train 1,281,167, test 50,000 (its validation photos)",
        terms="non-commercial research and education, after agreeing to the terms of image-net.org",
        folder="imagenet",
        marker="train",
        open=open_imagenet,
        by_hand=(
            "It may not be redistributed: register at image-net.org, download ILSVRC2012_img_train.tar, "
            "ILSVRC2012_img_val.tar and ILSVRC2012_devkit_t12.tar.gz into {folder}, and unpack them there into "
            "train/<synset>/ and val/<synset>/, for example with torchvision.datasets.ImageNet(folder, split) for the splits "
            '"train" and "val"'
        ),
    ),
}


def absolute_source(dataset: ImageDataset) -> str:
    """Return the source that opens a data set from any working directory: a name, or an absolute path."""
    path = Path(dataset.source)
    return dataset.source if is_public_name(dataset.source) or not path.exists() else str(path.absolute())


def is_public_name(source: str) -> bool:
    """Return whether a source is "name" or "name:FOLDER" with the name of a public data set; such text is never a path."""
    return source.partition(":")[0] in DATASETS


def named_folder(source: str) -> Path:
    """Return the folder where a named data set, "name" or "name:FOLDER", is or would be.

    Raises:
        DataError: FOLDER is empty, unusable, or given for a data set that comes with allmlp.
    """
    name, colon, folder = source.partition(":")
    named = DATASETS[name]
    if colon and (not folder or not named.folder):
        what = f"{name} comes with allmlp and takes no folder" if folder else "there is no folder after the colon"
        raise DataError(
            f"{escape(source)}: {what}. Expected {name}{' or ' + name + ':FOLDER' if named.folder else ''}."
        )
    if not named.folder:
        return Path(str(resources.files("allmlp.data"))) / "samples" / name
    path = Path(folder or os.environ.get("ALLMLP_DATA") or cache_folder() / "datasets")
    shown = escape(source) if folder else f"{name} (ALLMLP_DATA={escape(path)})"
    try:
        root = path.expanduser().absolute()
        if root.exists() and not root.is_dir():
            raise DataError(f"{shown}: {escape(root)} is a file; expected the folder that contains {named.folder}.")
        is_data_folder = _has(root, named.marker) and not _has(root, named.folder)
    except (OSError, RuntimeError) as error:  # name too long, inaccessible folder, unknown user after ~
        reason = getattr(error, "strerror", None) or error
        raise DataError(f"{shown}: this folder cannot be used ({reason}). Choose another folder.") from error
    return root if is_data_folder else root / named.folder


def is_downloaded(source: str) -> bool:
    """Return whether a named data set, "name" or "name:FOLDER", is in its folder.

    Raises:
        DataError: as `named_folder`.
    """
    return _has(named_folder(source), DATASETS[source.partition(":")[0]].marker)


def _has(folder: Path, name: str) -> bool:
    """Return whether a folder has an entry of this name. Unlike Path.exists, raise if the folder is not accessible."""
    try:
        (folder / name).stat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    return True


def open_public(source: str) -> ImageDataset:
    """Open a public data set, "name" or "name:FOLDER".

    Raises:
        DataError: it is not on this machine, or its files differ from the published ones.
    """
    name = source.partition(":")[0]
    named, folder = DATASETS[name], named_folder(source)
    if not named.folder:
        return named.open(source, folder)
    if not folder.is_dir():
        raise DataError(_not_found(source, name, named, folder))
    return dataclasses.replace(named.open(f"{name}:{folder}", folder), folder=folder)


def _not_found(source: str, name: str, named: PublicDataset, folder: Path) -> str:
    lines = [f"{escape(source)}: this data set is not on this machine: there is no folder {escape(folder)}."]
    if named.torchvision_class is None:
        lines.append(named.by_hand.format(folder=escape(folder)) + ".")
    else:
        lines.append(f"To download it ({named.size}): allmlp data {escape(source)} --download")
    lines.append(f"Terms: {named.terms}.")
    lines.append(
        f"If it is elsewhere, use {name}:FOLDER, or set ALLMLP_DATA to the folder that contains {named.folder}."
    )
    if Path(source).exists():
        lines.append(f"To open the local folder of that name, use .{os.sep}{escape(source)}")
    return "\n".join(lines)
