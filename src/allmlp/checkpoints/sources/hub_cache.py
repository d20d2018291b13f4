"""The files of one repository in the Hugging Face Hub's cache, which huggingface_hub and other programs share.

Its layout is documented by huggingface_hub: `blobs` holds contents named by their digests, `snapshots/COMMIT` links to them by
file name, and `refs` the commits of branches. Nothing in it is trusted: contents are compared with their digests, what leads
out of the repository's folder counts as absent, and nothing is written through a link.
"""

import contextlib
import hashlib
import io
import re
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path

from allmlp.errors import CheckpointError, ConfigError
from allmlp.io.atomic_write import write_bytes
from allmlp.io.display import escape

__all__ = ["COMMIT", "DIGEST", "HubCache", "check_revision", "matches_digest"]

COMMIT = re.compile("[0-9a-f]{40}")
DIGEST = re.compile("[0-9a-f]{40}|[0-9a-f]{64}")
"""Git's SHA-1 of a small file's content, or the SHA-256 of a large file."""

MAX_REF_BYTES = 100
_REVISION = re.compile(r"[^\s\\:?*\[~^\x00-\x1f\x7f]{1,200}")


def check_revision(revision: str) -> None:
    """Check that a revision can be the name of a branch, a tag or a commit, which becomes a path in the cache.

    Raises:
        CheckpointError: it cannot, for example because it has an empty part or starts with a dot.
    """
    parts = revision.split("/")
    if not _REVISION.fullmatch(revision) or not revision.isprintable() or any(part[:1] in ("", ".") for part in parts):
        raise CheckpointError(
            f"{revision[:200]!r} is not a revision; expected a branch, a tag or a commit, such as main."
        )


def matches_digest(content: bytes | Path, digest: str) -> bool:
    """Whether content, given as bytes or as a file, has this digest: SHA-256 if it has 64 digits, else the SHA-1 of git."""
    with io.BytesIO(content) if isinstance(content, bytes) else content.open("rb") as file:
        if len(digest) == 64:
            return hashlib.file_digest(file, "sha256").hexdigest() == digest
        found = hashlib.sha1(b"blob %d\0" % file.seek(0, io.SEEK_END))
        file.seek(0)
        while chunk := file.read(1 << 20):
            found.update(chunk)
    return found.hexdigest() == digest


class HubCache:
    """The part of the Hub's cache that belongs to one repository."""

    def __init__(self, repository: str) -> None:
        from huggingface_hub import constants

        self.folder = Path(constants.HF_HUB_CACHE).expanduser() / f"models--{repository.replace('/', '--')}"

    def find(self, name: str, revision: str) -> Path | None:
        """Return the path of a file at a revision; None if it is not cached, or is outside the repository's folder."""
        commit = revision if COMMIT.fullmatch(revision) else self._commit_of(revision)
        if commit is None:
            return None
        path = self._snapshot(commit) / name
        return path if path.is_file() and self._is_inside(path) else None

    def digest_of(self, path: Path) -> str | None:
        """Return the digest that the content of a cached file must have; None on file systems without links."""
        name = path.readlink().name if path.is_symlink() else ""
        return name if DIGEST.fullmatch(name) else None

    def remove(self, path: Path) -> None:
        """Remove a cached file whose content is not what it should be."""
        if path.is_symlink():
            blob = path.parent / path.readlink()
            if self._is_inside(blob.parent):
                blob.unlink(missing_ok=True)
        path.unlink(missing_ok=True)

    @contextlib.contextmanager
    def incomplete(self, digest: str) -> Iterator[Path]:
        """Yield the path of a download in progress, which no other process uses at the same time."""
        from filelock import FileLock

        self._make(self.folder / "blobs")
        lock = self.folder.parent / ".locks" / self.folder.name / f"{digest}.lock"
        self._make(lock.parent)
        with FileLock(lock):
            yield self.folder / "blobs" / f"{digest}.part"

    def keep(self, name: str, commit: str, digest: str, content: bytes | Path) -> Path:
        """Add a file, given as bytes or as a file to move, whose content has `digest`, and return its path."""
        blob = self.folder / "blobs" / digest
        self._make(blob.parent)
        if isinstance(content, bytes):
            self._write(blob, content)
        else:
            content.replace(blob)
        return self.link(name, commit, digest)

    def link(self, name: str, commit: str, digest: str) -> Path:
        """Give the content with `digest` its name in the snapshot of a commit."""
        path = self._snapshot(commit) / name
        self._make(path.parent)
        temporary = path.with_name(f".{name}.{secrets.token_hex(4)}")
        try:
            temporary.symlink_to(Path("..", "..", "blobs", digest))
        except OSError:  # a file system without links
            shutil.copyfile(self.folder / "blobs" / digest, temporary)
        temporary.replace(path)
        return path

    def blob(self, digest: str) -> Path | None:
        """Return the path of a content, verified; None if it is missing or damaged."""
        path = self.folder / "blobs" / digest
        return path if path.is_file() and self._is_inside(path) and matches_digest(path, digest) else None

    def remember(self, revision: str, commit: str) -> None:
        """Record that a branch or tag names this commit."""
        if revision != commit and self._commit_of(revision) != commit:
            path = self.folder / "refs" / revision
            self._make(path.parent)
            self._write(path, commit.encode())

    def _snapshot(self, commit: str) -> Path:
        return self.folder / "snapshots" / commit

    def _commit_of(self, revision: str) -> str | None:
        path = self.folder / "refs" / revision
        if not path.is_file():
            return None
        with path.open("rb") as file:
            commit = file.read(MAX_REF_BYTES).decode("utf-8", "replace").strip()
        return commit if COMMIT.fullmatch(commit) else None

    def _is_inside(self, path: Path) -> bool:
        # The folder itself may be a link: to another disk, for example. So may the cache, which also holds contents that
        # several repositories share.
        roots = (self.folder.resolve(), self.folder.parent.resolve())
        return any(path.resolve().is_relative_to(root) for root in roots)

    def _make(self, folder: Path) -> None:
        if not self._is_inside(folder):
            raise CheckpointError(
                f"{escape(folder)}: leads outside the Hub's cache; nothing was written. Delete this link."
            )
        folder.mkdir(parents=True, exist_ok=True)

    def _write(self, path: Path, content: bytes) -> None:
        try:
            write_bytes(path, content)
        except ConfigError as error:
            raise CheckpointError(str(error)) from error
