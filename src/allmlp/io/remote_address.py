"""Recognition of addresses where a path is expected."""

import re

__all__ = ["ADDRESS_ADVICE", "is_address"]

ADDRESS_ADVICE = "Addresses are not read; download it first and give its path."

# One slash is enough: pathlib drops the second one. Paths in a table are below the table's folder.
_ADDRESS = re.compile(
    r"(?:.*/)?(?:https?|ftps?|sftp|ssh|s3|gs|az|file|data|hdfs|git):/+\S|www\.[^\s/]+\.\w", re.IGNORECASE
)


def is_address(text: object) -> bool:
    """Whether a text that should be a path is an address such as "https://example.com/photo.jpg"."""
    return _ADDRESS.match(str(text)[:1000].strip()) is not None
