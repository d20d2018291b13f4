"""What a disk may hold after a power cut in the midst of file operations.

`recorded` writes down what allmlp.io.atomic_write does. `Disk` carries a part of it out as a file system does that promises
no more than POSIX: what is in a file is safe once the file was synced, what is in a folder (names that came, went or changed)
once the folder was. `Disk.images` then gives every state that a power cut may leave.
"""

import contextlib
import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import pytest

from allmlp.io import atomic_write as files

# What of each file's content since its last sync is there after the cut.
UNSYNCED = ("dropped", "half", "kept")

Image = dict[str, Any]  # a folder: its names with bytes or folders


@dataclass(frozen=True)
class Operation:
    """`name` is that of a function in allmlp.io.atomic_write without its underscore, or "write"; paths are relative."""

    name: str
    path: Path
    content: bytes = b""
    new_output_path: Path | None = None


@contextlib.contextmanager
def recorded(root: Path) -> Iterator[list[Operation]]:
    """Write down what allmlp.io.atomic_write does below `root`; everything is carried out as ever."""
    operations: list[Operation] = []

    def note(name: str, path: Path, **more: Any) -> None:
        operations.append(Operation(name, path.relative_to(root), **more))

    def on_path(name: str) -> Any:
        def call(path: Path) -> Any:
            if path != root.parent:  # the root's own name
                note(name, path)
            return original[name](path)

        return call

    def create(path: Path) -> IO[bytes]:
        note("create", path)
        file = original["create"](path)
        return _Noting(file, lambda content: note("write", path, content=content))  # type: ignore[return-value]  # acts as a file

    def sync_file(file: Any) -> None:
        original["sync_file"](file)
        note("sync_file", Path(file.name))

    def rename(old: Path, new: Path) -> None:
        note("rename", old, new_output_path=new.relative_to(root))
        original["rename"](old, new)

    wrappers = {"create": create, "sync_file": sync_file, "rename": rename}
    wrappers |= {name: on_path(name) for name in ("mkdir", "unlink", "rmdir", "sync_folder")}
    original = {name: getattr(files, f"_{name}") for name in wrappers}
    with pytest.MonkeyPatch.context() as patch:
        for name, wrapper in wrappers.items():
            patch.setattr(files, f"_{name}", wrapper)
        yield operations


class _Noting:
    """An open file that tells what is written to it."""

    def __init__(self, file: IO[bytes], note: Any) -> None:
        self._file, self._note = file, note

    def write(self, content: Any) -> int:
        self._note(bytes(content))
        return self._file.write(content)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)

    def __enter__(self) -> "_Noting":
        return self

    def __exit__(self, *error: object) -> None:
        self._file.close()


@dataclass
class File:
    content: bytes
    synced: bytes | None  # None: nothing was promised

    def image(self, unsynced: str) -> bytes:
        safe = self.synced if self.synced is not None else b""
        half = safe + self.content[len(safe) : (len(safe) + len(self.content)) // 2]
        return {"dropped": safe, "half": half, "kept": self.content}[unsynced]


@dataclass
class Folder:
    """`changes` since the last sync, each done or not done after a cut: a name that went, a name that came."""

    entries: "dict[str, File | Folder]" = field(default_factory=dict)
    changes: "list[tuple[str | None, tuple[str, File | Folder] | None]]" = field(default_factory=list)

    def change(self, gone: str | None, come: "tuple[str, File | Folder] | None") -> None:
        self.changes.append((gone, come))

    def with_changes(self, chosen: "list[tuple[str | None, tuple[str, File | Folder] | None]]") -> Any:
        entries = dict(self.entries)
        for gone, come in chosen:
            if gone is not None:
                entries.pop(gone, None)
            if come is not None:
                entries[come[0]] = come[1]
        return entries

    def sync(self) -> None:
        self.entries, self.changes = self.with_changes(self.changes), []

    def images(self, unsynced: str) -> Iterator[Image]:
        """Give what may be left: any choice of the changes that were not synced, in each folder."""
        for chosen in itertools.product((True, False), repeat=len(self.changes)):
            entries = self.with_changes(list(itertools.compress(self.changes, chosen)))
            choices = [
                [node.image(unsynced)] if isinstance(node, File) else node.images(unsynced) for node in entries.values()
            ]
            for contents in itertools.product(*choices):
                yield dict(zip(entries, contents, strict=True))


class Disk:
    """A folder whose content at the start is safe, and operations on it."""

    def __init__(self, start: Image) -> None:
        self.root = _safe(start)

    def do(self, operation: Operation) -> None:
        """Carry an operation out."""
        path, name = operation.path, operation.path.name
        if operation.name == "sync_folder":
            self._folder(path).sync()
        elif operation.name in ("write", "sync_file"):
            file = self._node(path)
            assert isinstance(file, File)
            if operation.name == "write":
                file.content += operation.content
            else:
                file.synced = file.content
        elif operation.new_output_path is not None:
            assert operation.new_output_path.parent == path.parent
            self._folder(path.parent).change(name, (operation.new_output_path.name, self._node(path)))
        elif operation.name in ("create", "mkdir"):
            node = File(b"", None) if operation.name == "create" else Folder()
            self._folder(path.parent).change(None, (name, node))
        else:
            assert operation.name in ("unlink", "rmdir")
            self._folder(path.parent).change(name, None)

    def images(self) -> Iterator[Image]:
        """Give every content of the folder that a power cut at this moment may leave, each once."""
        seen: list[Image] = []
        for unsynced in UNSYNCED:
            for image in self.root.images(unsynced):
                if image not in seen:
                    seen.append(image)
                    yield image

    def _node(self, path: Path) -> File | Folder:
        node: File | Folder = self.root
        for part in path.parts:
            assert isinstance(node, Folder)
            node = node.with_changes(node.changes)[part]
        return node

    def _folder(self, path: Path) -> Folder:
        folder = self._node(path)
        assert isinstance(folder, Folder)
        return folder


def _safe(image: Image) -> Folder:
    return Folder({name: _safe(node) if isinstance(node, dict) else File(node, node) for name, node in image.items()})


def image_of(folder: Path) -> Image:
    """Return what is in a folder."""
    return {path.name: image_of(path) if path.is_dir() else path.read_bytes() for path in folder.iterdir()}


def lay_out(image: Image, folder: Path) -> None:
    """Write an image into a new folder."""
    folder.mkdir()
    for name, node in image.items():
        if isinstance(node, dict):
            lay_out(node, folder / name)
        else:
            (folder / name).write_bytes(node)
