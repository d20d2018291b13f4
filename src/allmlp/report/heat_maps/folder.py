"""The folder of explained photos: a page with one card per photo, its pictures as PNG files, and the numbers of all photos."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np
from PIL import Image

from allmlp.errors import ConfigError
from allmlp.explanations import AGAINST_COLOUR, FOR_COLOUR, Explanation, occlusion_scale, overlay
from allmlp.io.atomic_write import advice_for, reason_of, write_together
from allmlp.io.display import counted, escape
from allmlp.io.json_object import json_text
from allmlp.report.heat_maps.drawing import css_colour, webp_uri
from allmlp.report.rendering import render_chunks

__all__ = ["MAX_EXPLAINED_PHOTOS", "NUMBERS_FILE", "PAGE_FILE", "ExplanationFolder"]

MAX_EXPLAINED_PHOTOS = 100
"""Photos with a card and pictures; a card takes about 60 kB of the page."""

PAGE_FILE = "index.html"
NUMBERS_FILE = "explanations.jsonl"

_PICTURE_SIDE = 280  # pixels on the page; the files are larger


@dataclass(frozen=True, kw_only=True)
class MapOnCard:
    """A heat map of a card, as tiles and smooth, both as data URIs."""

    caption: str
    description: str
    tiles: str
    smooth: str


@dataclass(frozen=True, kw_only=True)
class ClassOnCard:
    """A class and its logit as a sum: the bias, and the patches that speak for it and against it."""

    label: str
    score: float
    logit: float
    bias: float
    for_it: float
    against_it: float


@dataclass(frozen=True, kw_only=True)
class Card:
    """A photo on the page."""

    file: str
    label: str
    score: float
    is_unknown: bool
    """Whether the photo is of none of the classes; `label` and `score` are what they would be otherwise."""
    photo: str
    """A data URI."""
    classes: tuple[ClassOnCard, ...]
    maps: tuple[MapOnCard, ...]
    scale: float
    occlusion: MapOnCard | None
    occlusion_scale: float
    blocks: tuple[tuple[str, float], ...]


@dataclass(frozen=True, kw_only=True)
class _Picture:
    """What is drawn: a name for its file, words for the page, and the arguments of `overlay`."""

    name: str
    caption: str
    description: str
    label: str
    against: str | None = None
    is_occlusion: bool = False


class ExplanationFolder:
    """Collects explanations as they arrive and writes them to a new folder.

    Every photo's numbers go to explanations.jsonl at once; the first `max_photos` also have PNG files and a card on index.html.
    """

    def __init__(self, folder: Path, model: str, *, max_photos: int = MAX_EXPLAINED_PHOTOS) -> None:
        """Write to `folder`, which must be new or empty; `model` is named on the page.

        Raises:
            ConfigError: the folder cannot be written to.
        """
        self._folder = folder
        self._model = model
        self._max_photos = max_photos
        self._cards: list[Card] = []
        self._num_photos = 0
        self._num_files = 0
        with self._errors():
            folder.mkdir(parents=True, exist_ok=True)
            self._numbers: IO[str] = (folder / NUMBERS_FILE).open("x", encoding="utf-8", errors="backslashreplace")

    @property
    def num_cards_left(self) -> int:
        """How many of the next photos get a card, for which their occlusion is needed, too."""
        return self._max_photos - len(self._cards)

    def add(self, explanation: Explanation) -> None:
        """Add a photo.

        Raises:
            ConfigError: the folder cannot be written to.
        """
        self._num_photos += 1
        values = explanation.to_json_object()
        with self._errors():
            if self.num_cards_left:
                values["pictures"] = self._write_pictures(explanation)
                self._cards.append(_card(explanation))
            self._numbers.write(json_text(values) + "\n")

    def close(self) -> str:
        """Write the page; return a line that says what was written.

        Raises:
            ConfigError: the folder cannot be written to.
        """
        with self._errors():
            self._numbers.close()
        chunks = render_chunks(
            "explanations.html",
            model=self._model,
            cards=self._cards,
            num_photos=self._num_photos,
            numbers_file=NUMBERS_FILE,
            colours={"for": css_colour(FOR_COLOUR), "against": css_colour(AGAINST_COLOUR)},
        )
        page = self._folder / PAGE_FILE
        write_together(
            {page: lambda file: file.writelines(chunk.encode("utf-8", "backslashreplace") for chunk in chunks)}
        )
        shown, total = len(self._cards), self._num_photos
        limit = "" if shown == total else f" of the first {shown:,} photos"
        return (
            f"Wrote {escape(page)}{limit}: open it in a browser; next to it, {counted(self._num_files, 'picture')} and "
            f"{NUMBERS_FILE} with the numbers of {counted(total, 'photo')}"
        )

    def _write_pictures(self, explanation: Explanation) -> dict[str, str]:
        """Write a photo's PNG files, named by its number, and return their names by what they show."""
        names = {}
        for picture in _pictures(explanation):
            name = names[picture.name] = f"{self._num_photos:04}-{picture.name}.png"
            _draw(explanation, picture, smooth=False).save(self._folder / name)
            self._num_files += 1
        return names

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise ConfigError(
                f"{escape(self._folder)}: could not be written to ({reason_of(error)}). {advice_for(error)}"
            ) from error


def _pictures(explanation: Explanation) -> list[_Picture]:
    classes = explanation.classes
    pictures = [
        _Picture(
            name=f"class-{rank}",
            caption=label,
            description=f"Heat map of what speaks for and against {label}",
            label=label,
        )
        for rank, label in enumerate(classes, start=1)
    ]
    if len(classes) > 1:
        pictures.append(
            _Picture(
                name="difference",
                caption=f"{classes[0]} rather than {classes[1]}",
                description=f"Heat map of the difference: what speaks for {classes[0]} rather than {classes[1]}",
                label=classes[0],
                against=classes[1],
            )
        )
    if explanation.occlusion is not None:
        pictures.append(
            _Picture(
                name="occlusion",
                caption=f"What the answer depends on: {classes[0]}",
                description=f"Occlusion: where covering the photo lowers or raises the logit of {classes[0]}",
                label=classes[0],
                is_occlusion=True,
            )
        )
    return pictures


def _draw(explanation: Explanation, picture: _Picture, *, smooth: bool) -> Image.Image:
    kind = "occlusion" if picture.is_occlusion else "contributions"
    return overlay(explanation, picture.label, against=picture.against, kind=kind, smooth=smooth)  # type: ignore[arg-type]


def _card(explanation: Explanation) -> Card:
    maps = {picture.name: _map(explanation, picture) for picture in _pictures(explanation)}
    occlusion = maps.pop("occlusion", None)
    row_of = {label: row for row, label in enumerate(explanation.class_names)}
    classes = []
    for label in explanation.classes:
        values = explanation.map(label)
        row = row_of[label]
        classes.append(
            ClassOnCard(
                label=label,
                score=float(explanation.probabilities[row]),
                logit=_rounded(explanation.logits[row]),
                bias=_rounded(explanation.bias[row]),
                for_it=_rounded(values[values > 0].sum()),
                against_it=_rounded(values[values < 0].sum()),
            )
        )
    return Card(
        file=explanation.source,
        label=explanation.label,
        score=float(explanation.probabilities.max()),
        is_unknown=explanation.is_unknown,
        photo=webp_uri(Image.fromarray(explanation.photo), side=_PICTURE_SIDE),
        classes=tuple(classes),
        maps=tuple(maps.values()),
        scale=explanation.scale,
        occlusion=occlusion,
        occlusion_scale=occlusion_scale(explanation),
        blocks=tuple(explanation.block_labels()),
    )


def _rounded(value: np.floating) -> float:
    return round(float(value), 2) + 0.0  # not -0.00


def _map(explanation: Explanation, picture: _Picture) -> MapOnCard:
    return MapOnCard(
        caption=picture.caption,
        description=picture.description,
        tiles=webp_uri(_draw(explanation, picture, smooth=False), side=_PICTURE_SIDE),
        smooth=webp_uri(_draw(explanation, picture, smooth=True), side=_PICTURE_SIDE),
    )
