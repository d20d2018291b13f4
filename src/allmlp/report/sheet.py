"""Contact sheet of predictions: a page of thumbnails by predicted class, which needs no network and no script."""

import heapq
import itertools
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from allmlp.inference import Prediction
from allmlp.io.atomic_write import write_together
from allmlp.report.pictures import thumbnail_uri
from allmlp.report.rendering import render_chunks

__all__ = ["MAX_SHEET_PHOTOS", "ContactSheet"]

MAX_SHEET_PHOTOS = 10_000
_MAX_LINKS = 24
_UNKNOWN, _UNSURE = 0, 1
_MARKS = {_UNKNOWN: "Unknown", _UNSURE: "Unsure"}


@dataclass(frozen=True, kw_only=True)
class SheetPhoto:
    """A photo on the sheet."""

    uri: str
    """The thumbnail as a data URI."""
    file: str
    """The photo's path below the folder that all photos share."""
    label: str
    score: float
    others: tuple[tuple[str, float], ...]
    """The classes after the best one, with their scores."""


@dataclass(frozen=True, kw_only=True)
class SheetGroup:
    """The photos of a predicted class, the unknown or the unsure ones, from the lowest score to the highest."""

    identifier: str
    title: str
    is_marked: bool
    """Whether these are the unknown or the unsure photos."""
    num_photos: int
    photos: Iterator[SheetPhoto]


@dataclass(frozen=True, kw_only=True)
class SheetContext:
    """Everything that the page shows."""

    model: str
    folder: str
    """The folder that all photos share; "" if there is none."""
    num_photos: int
    num_shown: int
    num_unknown: int
    num_unsure: int
    min_score: float
    groups: tuple[SheetGroup, ...]

    @property
    def has_navigation(self) -> bool:
        """Whether the groups are few enough for links at the top; more of them are listed in a part that opens."""
        return len(self.groups) <= _MAX_LINKS


class ContactSheet:
    """Collects predictions with thumbnails and writes them as a page; of too many, the unknown and least certain."""

    def __init__(self, model: str, *, min_score: float = 0.0, max_photos: int = MAX_SHEET_PHOTOS) -> None:
        """Name the model. Predictions with a score below `min_score` come first, as unsure; before them, unknown photos."""
        self._model = model
        self._min_score = min_score
        self._max_photos = max_photos
        self._num_photos = 0
        self._num_unknown = self._num_unsure = 0
        # A heap: the surest known photo is the first to leave.
        self._kept: list[tuple[bool, float, int, Prediction]] = []

    def add(self, prediction: Prediction) -> None:
        """Add a prediction, which has a thumbnail."""
        self._num_photos += 1
        self._num_unknown += prediction.is_unknown
        self._num_unsure += not prediction.is_unknown and prediction.score < self._min_score
        entry = (prediction.is_unknown, -prediction.score, -self._num_photos, prediction)
        if len(self._kept) < self._max_photos:
            heapq.heappush(self._kept, entry)
        else:
            heapq.heappushpop(self._kept, entry)

    def write(self, path: Path) -> None:
        """Write the page.

        Raises:
            ConfigError: the disk is full or the folder is not writable; nothing is left behind.
        """
        chunks = render_chunks("sheet.html", sheet=self._context())
        write_together(
            {path: lambda file: file.writelines(chunk.encode("utf-8", "backslashreplace") for chunk in chunks)}
        )

    def _context(self) -> SheetContext:
        predictions = sorted((entry[-1] for entry in self._kept), key=self._key)
        folder = _shared_folder([prediction.source for prediction in predictions])
        groups = []
        for number, (group, members) in enumerate(itertools.groupby(predictions, key=lambda each: self._key(each)[:2])):
            listed = list(members)
            groups.append(
                SheetGroup(
                    identifier=f"group-{number}",
                    title=_MARKS.get(group[0], listed[0].label),
                    is_marked=group[0] in _MARKS,
                    num_photos=len(listed),
                    photos=_photos(listed, folder),
                )
            )
        return SheetContext(
            model=self._model,
            folder=folder,
            num_photos=self._num_photos,
            num_shown=len(predictions),
            num_unknown=self._num_unknown,
            num_unsure=self._num_unsure,
            min_score=self._min_score,
            groups=tuple(groups),
        )

    def _key(self, prediction: Prediction) -> tuple[int, tuple[str, str], float, str]:
        """Return the order on the page: the unknown, the unsure, then by class, each from the lowest score to the highest."""
        if prediction.is_unknown or prediction.score < self._min_score:
            mark = _UNKNOWN if prediction.is_unknown else _UNSURE
            return (mark, ("", ""), prediction.score, prediction.source)
        return (2, (prediction.label.casefold(), prediction.label), prediction.score, prediction.source)


def _photos(predictions: list[Prediction], folder: str) -> Iterator[SheetPhoto]:
    """Yield the photos of a group: their data URIs are made one at a time, while the page is written."""
    for prediction in predictions:
        yield SheetPhoto(
            uri=thumbnail_uri(prediction.thumbnail or b""),
            file=os.path.relpath(prediction.source, folder) if folder else prediction.source,
            label=prediction.label,
            score=prediction.score,
            others=tuple((other["label"], other["score"]) for other in prediction.labels[1:3]),
        )


def _shared_folder(paths: list[str]) -> str:
    """Return the folder that holds all of the paths; "" if there is none, as for relative and absolute paths together."""
    try:
        return os.path.commonpath([os.path.dirname(path) for path in paths])  # noqa: PTH120
    except ValueError:
        return ""
