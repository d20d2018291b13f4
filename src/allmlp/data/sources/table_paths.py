"""Paths in a table, found on the disk: below the folder of the table, in any Unicode form, and each photo once."""

import os
import unicodedata
from collections import defaultdict
from collections.abc import Callable, Mapping
from pathlib import Path

from allmlp.data.sources.file_reader import file_problem
from allmlp.io.display import escape, summarise

__all__ = ["PathFinder"]

Fold = Callable[[str], str]


class PathFinder:
    """Finds the files that a table names. Relative paths are below `folder`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._names: dict[tuple[str, Fold], dict[str, str]] = {}  # by folder: folded NFC name -> name on the disk
        self._missing: list[str] = []

    def find(self, path: str) -> str:
        """Return the path of the file on the disk, or the path as it is if there is none.

        A table written on Windows has backslashes, which are separators unless a file with that literal name exists. macOS
        may have stored a name in another Unicode form than the table has.
        """
        if self._exists(path):
            return path
        for candidate in (path.replace("\\", "/"), self._respelled(path.replace("\\", "/"))):
            if self._exists(candidate):
                return candidate
        return path.replace("\\", "/")

    def problem(self, path: str) -> str | None:
        """Return why the file that a path names cannot be a photo; None if it can."""
        problem = file_problem(self._folder / self.find(path))
        if problem == "no such file or directory":
            self._missing.append(self.find(path))
            where = "" if os.path.isabs(path) else f"; paths are looked for below {escape(self._folder.absolute())}"  # noqa: PTH117
            return f"no such file or directory{where}"
        return problem

    def hints(self) -> list[str]:
        """Return how the first of the missing files would be found: in other case, or without leading folders."""
        if not self._missing:
            return []
        spelled = self._respelled(self._missing[0], str.casefold)
        if self._exists(spelled):
            return [f"{escape(spelled)} exists; write the paths in upper and lower case as on the disk"]
        parts = self._missing[0].split("/")
        for count in range(1, min(len(parts), 20)):
            if self._exists("/".join(parts[count:])):
                leading = escape("/".join(parts[:count]))
                return [f"{escape('/'.join(parts[count:]))} exists; remove {leading}/ from the paths"]
        return []

    def repeated(self, paths: Mapping[int, str]) -> list[str]:
        """Return a problem if rows name the same photo, in any spelling or through links; `paths` are those of the rows.

        A copy in another split or class would distort the results.
        """
        by_file: dict[tuple[int, int], list[int]] = defaultdict(list)
        for number, path in paths.items():
            status = (self._folder / path).stat()
            by_file[status.st_dev, status.st_ino].append(number)
        rows: list[tuple[list[int], str]] = []
        for numbers in by_file.values():
            same: dict[str, list[int]] = defaultdict(list)  # hard links are separate files
            for number in numbers if len(numbers) > 1 else ():
                same[os.path.realpath(self._folder / paths[number])].append(number)
            rows += [(group, paths[group[0]]) for group in same.values() if len(group) > 1]
        if not rows:
            return []
        (first, path), *rest = rows
        more = f"; so do rows {summarise((_and(group) for group, _ in rest), limit=5)}" if rest else ""
        return [f"rows {_and(first)} name the same photo, {escape(path)}{more}"]

    def _exists(self, path: str) -> bool:
        return os.path.exists(self._folder / path)  # noqa: PTH110 - Path.exists raises if a name is too long

    def _respelled(self, path: str, fold: Fold = str) -> str:
        """Return the path whose parts are those of `path` up to their Unicode form, and `fold`, as far as they exist."""
        if path.isascii() and fold is str:
            return path
        found = "/" if path.startswith("/") else ""
        for part in filter(None, path.split("/")):
            name = part
            if not self._exists(found + part):
                name = self._names_in(found, fold).get(fold(unicodedata.normalize("NFC", part)), part)
            found += f"{name}/"
        return found[:-1]

    def _names_in(self, folder: str, fold: Fold) -> Mapping[str, str]:
        if (folder, fold) not in self._names:
            try:
                names = os.listdir(self._folder / folder)  # noqa: PTH208
            except OSError:
                names = []
            self._names[folder, fold] = {fold(unicodedata.normalize("NFC", name)): name for name in names}
        return self._names[folder, fold]


def _and(numbers: list[int]) -> str:
    shown = [f"{number:,}" for number in numbers]
    return f"{', '.join(shown[:-1])} and {shown[-1]}"
