"""Recognition of addresses where a path is expected."""

import re

__all__ = ["ADDRESS_ADVICE", "is_address", "is_remote"]

ADDRESS_ADVICE = "Addresses are not read; download it first and give its path."

# One slash is enough: pathlib drops the second one. Paths in a table are below the table's folder.
_ADDRESS = re.compile(
    r"(?:.*/)?(?:https?|ftps?|sftp|ssh|s3|gs|az|file|data|hdfs|git):/+\S|www\.[^\s/]+\.\w", re.IGNORECASE
)

_REMOTE = re.compile(r"(?!file:|local:)[a-z][a-z0-9+.-]+://[^/]+(/.*)?", re.IGNORECASE)
_FILE = re.compile(r".*\.[a-z][a-z0-9]{1,7}", re.IGNORECASE)


def is_address(text: object) -> bool:
    """Whether a text that should be a path is an address such as "https://example.com/photo.jpg"."""
    return _ADDRESS.match(str(text)[:1000].strip()) is not None


def is_remote(source: object) -> bool:
    """Whether a source is the address of a folder of tar shards, or of a shard: "s3://bucket/flowers/", "https://host/x.tar".

    Without the slash at its end, a name such as "https://host/photos.zip" is a file, which is not read.
    """
    match = _REMOTE.fullmatch(str(source))
    name = (match[1] or "").rpartition("/")[2] if match else ""
    return match is not None and (name.lower().endswith(".tar") or not _FILE.fullmatch(name))
