"""The members of a .pt2 file that allmlp itself needs by name, and the digest of all."""

import hashlib
from collections.abc import Mapping

from allmlp.exports.metadata import DIGEST_KEY, OWN_KEY

__all__ = ["DESCRIPTION", "DIGEST", "EXTRA", "PROGRAM", "ROOT", "archive_digest"]

ROOT = "archive/"
"""The folder of all members, which torch.export.save chooses."""

EXTRA = "extra/"
"""Of the extra files of torch.export.save."""

DESCRIPTION = f"{OWN_KEY}.json"
"""The extra file with the JSON object."""

DIGEST = f"{EXTRA}{DIGEST_KEY}"
PROGRAM = "models/model.json"


def archive_digest(contents: Mapping[str, bytes | memoryview]) -> str:
    """Return the digest of the members of an archive, but for the notes of torch's writer."""
    hashed = hashlib.sha256()
    for name in sorted(contents):
        if "/.data/" not in name and not name.endswith(DIGEST):
            hashed.update(f"{name} {len(contents[name])}\n".encode())
            hashed.update(contents[name])
    return hashed.hexdigest()
