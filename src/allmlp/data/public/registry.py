"""Registry of public data sets: what is known by name, which folder it has, and whether it is there."""

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
from allmlp.io.display import escape
from allmlp.io.download_folder import downloads_directory

__all__ = [
    "DATASETS",
    "PublicDataset",
    "is_downloaded",
    "is_public_name",
    "lasting_source",
    "named_folder",
    "open_public",
]


@dataclass(frozen=True, kw_only=True)
class PublicDataset:
    """A data set that is known by name.

    Attributes:
        summary: what it is and its official splits.
        terms: under which it may be used, as its own page says.
        folder: what it is called below the folder of data sets, as by torchvision; "" for what comes with allmlp.
        marker: a name in that folder, by which it is recognised where it is given under another name.
        open: makes a data set of a source's text and that folder.
        downloads: the name of the class in torchvision.datasets that downloads it; None where it has to be done by hand.
        size: of the download.
        by_hand: how to get it otherwise.
    """

    summary: str
    terms: str
    folder: str = ""
    marker: str = ""
    open: Callable[[str, Path], ImageDataset]
    downloads: str | None = None
    size: str = ""
    by_hand: str = ""


def _clothing(source: str, folder: Path) -> ImageDataset:
    return open_parquet(source, [folder / "train.parquet", folder / "test.parquet"])


DATASETS: Mapping[str, PublicDataset] = {
    "clothing": PublicDataset(
        summary="clothing of 10 kinds, 64 × 64 pixels: train 1,000, test 372; comes with allmlp",
        terms="CC0; see samples/clothing/README.md in the package",
        open=_clothing,
    ),
    "cifar10": PublicDataset(
        summary="10 kinds of animals and vehicles, 32 × 32 pixels: train 50,000, test 10,000",
        terms="its page states no licence; it asks to cite Krizhevsky 2009 (www.cs.toronto.edu/~kriz/cifar.html)",
        folder="cifar-10-batches-py",
        marker="batches.meta",
        open=open_cifar10,
        downloads="CIFAR10",
        size="170 MB",
    ),
    "cifar100": PublicDataset(
        summary="100 kinds of things, 32 × 32 pixels: train 50,000, test 10,000",
        terms="its page states no licence; it asks to cite Krizhevsky 2009 (www.cs.toronto.edu/~kriz/cifar.html)",
        folder="cifar-100-python",
        marker="meta",
        open=open_cifar100,
        downloads="CIFAR100",
        size="170 MB",
    ),
    "flowers102": PublicDataset(
        summary="Oxford Flowers, 102 kinds: train 1,020, validation 1,020, test 6,149",
        terms="its page states no licence; the photos are their owners' (www.robots.ox.ac.uk/~vgg/data/flowers/102)",
        folder="flowers-102",
        marker="setid.mat",
        open=open_flowers102,
        downloads="Flowers102",
        size="350 MB",
    ),
    "pets": PublicDataset(
        summary="Oxford-IIIT Pets, 37 breeds of cats and dogs: train 3,680, test 3,669",
        terms="CC BY-SA 4.0 by its page; the photos are their owners' (www.robots.ox.ac.uk/~vgg/data/pets)",
        folder="oxford-iiit-pet",
        marker="annotations",
        open=open_pets,
        downloads="OxfordIIITPet",
        size="810 MB",
    ),
    "imagenet": PublicDataset(
        summary="ImageNet-1k (ILSVRC 2012): train 1,281,167, test 50,000 (its validation photos)",
        terms="non-commercial research and education, after agreeing to the terms on image-net.org",
        folder="imagenet",
        marker="train",
        open=open_imagenet,
        by_hand=(
            "Nobody may pass it on: register at image-net.org, download ILSVRC2012_img_train.tar, ILSVRC2012_img_val.tar and "
            "ILSVRC2012_devkit_t12.tar.gz into {folder}, and unpack them there into train/<synset>/ and val/<synset>/: "
            'torchvision.datasets.ImageNet(folder, split) does, for split "train" and "val"'
        ),
    ),
}


def lasting_source(dataset: ImageDataset) -> str:
    """Return what opens a data set from any folder: a name stays, a path becomes absolute."""
    path = Path(dataset.source)
    return dataset.source if is_public_name(dataset.source) or not path.exists() else str(path.absolute())


def is_public_name(source: str) -> bool:
    """Whether a source, "name" or "name:FOLDER", names a public data set; a path does where it starts like one."""
    return source.partition(":")[0] in DATASETS


def named_folder(source: str) -> Path:
    """Return where a named data set, "name" or "name:FOLDER", is or would be.

    Raises:
        DataError: no folder, one for a data set that comes with allmlp, or an invalid one.
    """
    name, colon, folder = source.partition(":")
    named = DATASETS[name]
    if colon and (not folder or not named.folder):
        what = f"{name} comes with allmlp and has no folder" if folder else "no folder stands behind the colon"
        raise DataError(
            f"{escape(source)}: {what}. Expected {name}{' or ' + name + ':FOLDER' if named.folder else ''}."
        )
    if not named.folder:
        return Path(str(resources.files("allmlp.data"))) / "samples" / name
    above = Path(folder or os.environ.get("ALLMLP_DATA") or downloads_directory() / "datasets")
    given = escape(source) if folder else f"{name} (ALLMLP_DATA={escape(above)})"
    try:
        root = above.expanduser().absolute()
        if root.exists() and not root.is_dir():
            raise DataError(f"{given}: {escape(root)} is a file; expected the folder that holds {named.folder}.")
        is_itself = _has(root, named.marker) and not _has(root, named.folder)
    except (OSError, RuntimeError) as error:  # a name too long, a folder that may not be entered, no such user behind ~
        reason = getattr(error, "strerror", None) or error
        raise DataError(f"{given}: that folder cannot be used ({reason}). Name another one.") from error
    return root if is_itself else root / named.folder


def is_downloaded(source: str) -> bool:
    """Whether a named data set, "name" or "name:FOLDER", has been put where it belongs.

    Raises:
        DataError: as `named_folder`.
    """
    return _has(named_folder(source), DATASETS[source.partition(":")[0]].marker)


def _has(folder: Path, name: str) -> bool:
    """Whether a folder holds an entry of this name. Unlike Path.exists it raises where the folder may not be read."""
    try:
        (folder / name).stat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    return True


def open_public(source: str) -> ImageDataset:
    """Open a public data set, "name" or "name:FOLDER".

    Raises:
        DataError: it is not on this machine, or its files are not as published.
    """
    name = source.partition(":")[0]
    named, place = DATASETS[name], named_folder(source)
    if not named.folder:
        return named.open(source, place)
    if not place.is_dir():
        raise DataError(_not_here(source, name, named, place))
    return dataclasses.replace(named.open(f"{name}:{place}", place), folder=place)


def _not_here(source: str, name: str, named: PublicDataset, place: Path) -> str:
    lines = [f"{escape(source)}: it is not on this machine: there is no {escape(place)}."]
    if named.downloads is None:
        lines.append(named.by_hand.format(folder=escape(place)) + ".")
    else:
        lines.append(f"To download it ({named.size}): allmlp data {escape(source)} --download")
    lines.append(f"Terms: {named.terms}.")
    lines.append(
        f"If you have it elsewhere: {name}:FOLDER, or set ALLMLP_DATA to the folder that holds {named.folder}."
    )
    if Path(source).exists():
        lines.append(f"The folder of that name here is .{os.sep}{escape(source)}")
    return "\n".join(lines)
