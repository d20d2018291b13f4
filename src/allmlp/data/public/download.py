"""Downloads of named data sets, by torchvision. A data set is there whole or not at all."""

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

# Arguments of torchvision's data sets, in addition to the folder.
_SPLIT: Mapping[str, Mapping[str, object]] = {
    "CIFAR10": {"train": True},
    "CIFAR100": {"train": True},
    "Flowers102": {"split": "train"},
    "OxfordIIITPet": {"split": "trainval"},
}


def download_dataset(source: str) -> Path:
    """Download a named data set, "name" or "name:FOLDER", unless it is there, and return its folder.

    torchvision checks the published digests and shows its progress on standard error. It works in a folder next to it, which is
    renamed at the end; files that arrived whole before an interruption are used again.

    Raises:
        ConfigError: an unknown name, a data set that is not downloaded, or the network is forbidden.
        DataError: it cannot be downloaded, or what is there already is damaged.
    """
    name = source.partition(":")[0]
    if name not in DATASETS:
        raise ConfigError(
            f"There is no named data set {name!r}.{did_you_mean(name, DATASETS)} There are: {', '.join(DATASETS)}."
        )
    named, place = DATASETS[name], named_folder(source)
    if not named.folder:
        raise ConfigError(f"{name} comes with allmlp: there is nothing to download.")
    if place.exists():
        _check_whole(source, place)
        return place
    if named.downloads is None:
        raise ConfigError(f"{name} cannot be downloaded. {named.by_hand.format(folder=escape(place))}.")
    if is_offline():
        raise ConfigError(f"{name}: ALLMLP_OFFLINE or HF_HUB_OFFLINE forbids the network; unset it to download.")
    working = place.parent / f".{name}.download"
    try:
        working.mkdir(parents=True, exist_ok=True)
        _drop(working / named.folder, archives=False)
        _fetch(named.downloads, working)
        _drop(working / named.folder, archives=True)
        (working / named.folder).rename(place)
    except (OSError, RuntimeError, EOFError, tarfile.TarError, zlib.error, http.client.HTTPException) as error:
        raise DataError(
            f"{name}: the download to {escape(place.parent)} failed ({type(error).__name__}: {error}). Try again: what has "
            f"come whole is kept in {escape(working)}."
        ) from error
    with contextlib.suppress(OSError):
        shutil.rmtree(working)
    return place


def _fetch(kind: str, folder: Path) -> None:
    if kind == "Flowers102":
        mat_reader()  # torchvision reads the labels at the end: a missing library is reported before the download
    datasets = importlib.import_module("torchvision.datasets")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        getattr(datasets, kind)(folder, download=True, **_SPLIT[kind])


def _drop(folder: Path, *, archives: bool) -> None:
    """Remove what was unpacked, perhaps not to the end, which torchvision takes for whole; or the archives at the end."""
    for entry in folder.iterdir() if folder.is_dir() else ():
        if archives and entry.name.endswith((".tgz", ".tar.gz")):
            entry.unlink()
        elif not archives and entry.is_dir():
            shutil.rmtree(entry)


def _check_whole(source: str, place: Path) -> None:
    try:
        open_public(source)
    except AllmlpError as error:
        raise DataError(
            f"{escape(place)} is there, but cannot be used: {error} Delete it to download it anew."
        ) from error
