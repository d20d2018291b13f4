"""A digest by which a data set whose photos were all decoded is known again without decoding them."""

import hashlib
import struct
from pathlib import Path

import PIL

from allmlp.data.dataset import ImageDataset

__all__ = ["fingerprint"]


def fingerprint(dataset: ImageDataset) -> str | None:
    """Return a SHA-256, as hexadecimal digits, of what decides whether photos decode; None when a file cannot be examined.

    It covers sample IDs, labels, the path, size, modification and change time of every file that photos lie in, and the
    version of Pillow. Nothing is read, so a disk that loses bits behind the file system's back is not noticed; a
    file that is replaced or written to is, even by a program that restores its modification time. A copy of the data set
    has another fingerprint.
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
