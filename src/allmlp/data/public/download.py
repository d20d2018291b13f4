"""Downloads of named data sets, which torchvision checks and unpacks. A data set is either complete or absent."""

import contextlib
import hashlib
import importlib
import shutil
import tarfile
import warnings
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from allmlp.data.public.registry import DATASETS, named_folder, open_public
from allmlp.data.public.torchvision_sets import mat_reader
from allmlp.errors import AllmlpError, CheckpointError, ConfigError, DataError, did_you_mean
from allmlp.io.cache_folder import is_offline
from allmlp.io.display import escape
from allmlp.io.http_download import ReportProgress, discard, receive

__all__ = ["download_dataset"]

_MAX_FILE_BYTES = 1 << 30  # the largest file has 0.8 GB

# Arguments of torchvision's data sets in addition to the folder.
_SPLIT: Mapping[str, Mapping[str, object]] = {
    "CIFAR10": {"train": True},
    "CIFAR100": {"train": True},
    "Flowers102": {"split": "train"},
    "OxfordIIITPet": {"split": "trainval"},
}


def download_dataset(source: str, *, report_progress: ReportProgress | None = None) -> Path:
    """Download a named data set, "name" or "name:FOLDER", unless it is present, and return its folder.

    Addresses and digests are torchvision's. The files are downloaded into a temporary folder next to the final one, which is
    renamed at the end. What was received before an interruption is reused.

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
        _fetch(named.torchvision_class, working, working / named.folder, report_progress)
        _remove_archives(working / named.folder)
        (working / named.folder).rename(folder)
    except (OSError, RuntimeError, EOFError, tarfile.TarError, zlib.error, CheckpointError, DataError) as error:
        raise DataError(
            f"{name}: the download to {escape(folder.parent)} failed ({escape(error)}). Try again: what was received "
            f"is kept in {escape(working)}."
        ) from error
    with contextlib.suppress(OSError):
        shutil.rmtree(working)
    return folder


def _fetch(torchvision_class: str, root: Path, folder: Path, report_progress: ReportProgress | None) -> None:
    """Download and unpack a data set to `folder`, which torchvision places in `root`.

    torchvision finds its files complete and only unpacks them: its own downloads have no limits of size and time, and fall back
    from https to http.
    """
    if torchvision_class == "Flowers102":
        mat_reader()  # torchvision reads the labels at the end; report a missing SciPy before the download
    kind: Any = getattr(importlib.import_module("torchvision.datasets"), torchvision_class)
    for url, md5 in _files(kind):
        _receive(
            url,
            (root if torchvision_class.startswith("CIFAR") else folder) / url.rpartition("/")[2],
            md5,
            report_progress,
        )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        kind(root, download=True, **_SPLIT[torchvision_class])


def _files(kind: Any) -> list[tuple[str, str]]:
    """Return the address and MD5 of each file of one of torchvision's classes."""
    if kind.__name__ == "OxfordIIITPet":
        return list(kind._RESOURCES)
    if kind.__name__ == "Flowers102":
        return [(kind._download_url_prefix + name, md5) for name, md5 in kind._file_dict.values()]
    return [(kind.url, kind.tgz_md5)]


def _receive(url: str, path: Path, md5: str, report_progress: ReportProgress | None) -> None:
    if path.is_file() and _md5_of(path) == md5:
        return
    part = path.with_name(path.name + ".part")
    receive(url, part, max_bytes=_MAX_FILE_BYTES, report_progress=report_progress)
    if _md5_of(part) != md5:
        discard(part)
        raise DataError(f"{url}: the file differs from the published one, and was discarded")
    part.rename(path)
    discard(part)


def _md5_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


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
