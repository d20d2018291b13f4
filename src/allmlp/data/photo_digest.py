"""Digest of a photo's bytes: the identity of a photo, whatever its name and wherever it is stored."""

import hashlib

__all__ = ["photo_digest"]


def photo_digest(content: bytes) -> str:
    """Return the SHA-256 of an encoded photo, in hexadecimal."""
    return hashlib.sha256(content).hexdigest()
