"""Fingerprint of a data set, by which photos that have all been decoded before need not be decoded again."""

import hashlib
import struct
from pathlib import Path

import PIL

from allmlp.data.dataset import ImageDataset

__all__ = ["fingerprint"]


def fingerprint(dataset: ImageDataset) -> str | None:
    """Return the SHA-256, in hexadecimal, of what decides whether the photos decode; None if a file cannot be examined.

    It covers the sample IDs and labels, Pillow's version, and the path, size, modification time and change time of every file
    that holds photos. File contents are not read: bit rot goes unnoticed, but every write or replacement is detected, even by
    a program that restores the modification time. A copy of the data set has a different fingerprint.
    """
    digest = hashlib.sha256(f"{PIL.__version__}\0".encode())
    for name, split in sorted(dataset.splits.items()):
        digest.update(f"{name}\0{len(split)}\0".encode())
        digest.update("\0".join(split.sample_ids).encode("utf-8", "surrogateescape"))
        digest.update(split.labels.astype("<i8").tobytes())
        for path in split.reader.photo_files():
            try:
                digest.update(_stamp(path))
            except OSError:
                return None
    return digest.hexdigest()


def _stamp(path: Path) -> bytes:
    status = path.stat()
    times = struct.pack("<qqq", status.st_size, status.st_mtime_ns, status.st_ctime_ns)
    return str(path.absolute()).encode("utf-8", "surrogateescape") + b"\0" + times
