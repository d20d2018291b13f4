"""Sorting of photos into folders by their predicted class; the photos themselves are never changed."""

import contextlib
import errno
import os
import shutil
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Literal

from allmlp.errors import ConfigError
from allmlp.inference.folder_names import UniqueNames, safe_name
from allmlp.io.atomic_write import advice_for, reason_of
from allmlp.io.display import escape

__all__ = ["PhotoSorter", "check_sort_folder"]

_UNSURE = "unsure"
_UNKNOWN = "unknown"


def check_sort_folder(folder: Path, sources: Iterable[str]) -> None:
    """Check that photos are not sorted into the folder that they come from.

    Raises:
        ConfigError: `folder` is, or is in, one of `sources` (files or folders), or it holds one of them.
    """
    target = _resolved(folder)
    for source in map(_resolved, sources):
        if target.is_relative_to(source) or source.parent == target:
            raise ConfigError(
                f"{escape(folder)}: the photos come from this folder, so that the next run would find its own copies. "
                "Choose a folder outside of them."
            )


class PhotoSorter:
    """Puts photos into `folder`/<class>/ as copies or links.

    Class names are made safe as names of folders. Photos of the same name get different ones: "1.jpg", "1 (2).jpg".

    Attributes:
        counts: the number of photos in each sub-folder, by its name.
    """

    def __init__(
        self, folder: str | Path, class_names: Sequence[str], *, link: Literal["hard", "symbolic"] | None = None
    ) -> None:
        """Sort into `folder`, which must be new or empty; it is created with the first photo. `link` None copies."""
        self.folder = Path(folder)
        self.counts: Counter[str] = Counter()
        self._link = link
        names = UniqueNames()
        self._folders: dict[str | None, str] = {name: names.take(safe_name(name)) for name in class_names}
        self._folders[None] = names.take(_UNSURE)
        self._unknown = names.take(_UNKNOWN)
        self._names: dict[str, UniqueNames] = {}

    def add(self, path: str, label: str | None, *, is_unknown: bool = False) -> Path:
        """Put a photo into the folder of its class, of unsure predictions (None), or of unknown photos; return its new path.

        Raises:
            ConfigError: it cannot be written there. Nothing partial is left behind.
        """
        name = self._unknown if is_unknown else self._folders[label]
        target = self.folder / name / self._names.setdefault(name, UniqueNames()).take(Path(path).name)
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            self._put(path, target)
        except OSError as error:
            raise ConfigError(
                f"{escape(path)}: could not be sorted to {escape(target)} ({reason_of(error)}). {_advice(error)}"
            ) from error
        self.counts[name] += 1
        return target

    def _put(self, path: str, target: Path) -> None:
        if self._link == "hard":
            os.link(Path(path).resolve(), target)
        elif self._link == "symbolic":
            target.symlink_to(os.path.abspath(path))  # noqa: PTH100 - Path.absolute keeps "..", and resolve follows links
        else:
            _copy(path, target)


def _copy(path: str, target: Path) -> None:
    with Path(path).open("rb") as source, target.open("xb") as copy:
        try:
            shutil.copyfileobj(source, copy)
        except BaseException:  # also Ctrl-C
            with contextlib.suppress(OSError):
                copy.close()
                target.unlink()
            raise
    with contextlib.suppress(OSError):  # some file systems keep no times or modes
        shutil.copystat(path, target)


def _resolved(path: str | Path) -> Path:
    return Path(os.path.realpath(path))  # unlike Path.resolve, it raises nothing for loops of links


def _advice(error: OSError) -> str:
    if error.errno in (errno.EXDEV, errno.EPERM, errno.EMLINK, errno.ENOTSUP):
        return "This kind of link is not possible there; copy the photos instead, or choose another folder."
    return advice_for(error)
