"""Downloads of named data sets with torchvision. A data set is either complete or absent."""

import contextlib
import http.client
import importlib
import shutil
import tarfile
import warnings
import zlib
from collections.abc import Mapping
from pathlib import Path

from allmlp.data.public.registry import DATASETS, named_folder, open_public
from allmlp.data.public.torchvision_sets import mat_reader
from allmlp.errors import AllmlpError, ConfigError, DataError, did_you_mean
from allmlp.io.display import escape
from allmlp.io.download_folder import is_offline

__all__ = ["download_dataset"]

# Arguments of torchvision's data sets in addition to the folder.
_SPLIT: Mapping[str, Mapping[str, object]] = {
    "CIFAR10": {"train": True},
    "CIFAR100": {"train": True},
    "Flowers102": {"split": "train"},
    "OxfordIIITPet": {"split": "trainval"},
}


def download_dataset(source: str) -> Path:
    """Download a named data set, "name" or "name:FOLDER", unless it is present, and return its folder.

    torchvision verifies the published digests and shows its progress on standard error. It downloads into a temporary folder
    next to the final one, which is renamed at the end. Files that were complete before an interruption are reused.

    Raises:
        ConfigError: the name is unknown, the data set has no automatic download, or the network is forbidden.
        DataError: the download failed, or the existing folder is damaged.
    """
    name = source.partition(":")[0]
    if name not in DATASETS:
        raise ConfigError(
            f"Unknown data set {name!r}.{did_you_mean(name, DATASETS)} Named data sets: {', '.join(DATASETS)}."
        )
    named, folder = DATASETS[name], named_folder(source)
    if not named.folder:
        raise ConfigError(f"{name} comes with allmlp: there is nothing to download.")
    if folder.exists():
        _check_complete(source, folder)
        return folder
    if named.torchvision_class is None:
        raise ConfigError(f"{name} cannot be downloaded automatically. {named.by_hand.format(folder=escape(folder))}.")
    if is_offline():
        raise ConfigError(f"{name}: ALLMLP_OFFLINE or HF_HUB_OFFLINE forbids the network; unset it to download.")
    working = folder.parent / f".{name}.download"
    try:
        working.mkdir(parents=True, exist_ok=True)
        _remove_unpacked(working / named.folder)
        _fetch(named.torchvision_class, working)
        _remove_archives(working / named.folder)
        (working / named.folder).rename(folder)
    except (OSError, RuntimeError, EOFError, tarfile.TarError, zlib.error, http.client.HTTPException) as error:
        raise DataError(
            f"{name}: the download to {escape(folder.parent)} failed ({type(error).__name__}: {error}). Try again: complete "
            f"files are kept in {escape(working)}."
        ) from error
    with contextlib.suppress(OSError):
        shutil.rmtree(working)
    return folder


def _fetch(torchvision_class: str, folder: Path) -> None:
    if torchvision_class == "Flowers102":
        mat_reader()  # torchvision reads the labels at the end; report a missing SciPy before the download
    datasets = importlib.import_module("torchvision.datasets")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        getattr(datasets, torchvision_class)(folder, download=True, **_SPLIT[torchvision_class])


def _remove_unpacked(folder: Path) -> None:
    """Remove unpacked folders: they may be incomplete, but torchvision would take them for complete."""
    for entry in folder.iterdir() if folder.is_dir() else ():
        if entry.is_dir():
            shutil.rmtree(entry)


def _remove_archives(folder: Path) -> None:
    for entry in folder.iterdir() if folder.is_dir() else ():
        if entry.name.endswith((".tgz", ".tar.gz")):
            entry.unlink()


def _check_complete(source: str, folder: Path) -> None:
    try:
        open_public(source)
    except AllmlpError as error:
        raise DataError(
            f"{escape(folder)} exists but cannot be used: {error} Delete it to download it again."
        ) from error
