"""Predictions: the labels of a photo with their scores, and lists of them."""

from dataclasses import dataclass, field
from typing import SupportsIndex, TypedDict, overload

from allmlp.io.display import escape, html_table, shorten

__all__ = ["Prediction", "Predictions", "ScoredLabel"]

_MAX_SHOWN = 3
_MAX_NAME = 60
_MAX_ROWS = 50


class ScoredLabel(TypedDict):
    """A class name and its probability, in 0..1."""

    label: str
    score: float


@dataclass(frozen=True, repr=False)
class Prediction:
    """The prediction for one photo.

    Attributes:
        source: the photo's path or name; "image 3" for the third photo if it has no name.
        labels: the most probable classes, best first. The scores of all K classes sum to 1.
        thumbnail: a small JPEG or PNG of the photo, of at most 200 pixels on each side, if thumbnails were asked for.
        is_unknown: whether the photo is of none of the classes, by the model's threshold (`ModelDescription.unknown`).
    """

    source: str
    labels: tuple[ScoredLabel, ...]
    thumbnail: bytes | None = field(default=None, compare=False)
    is_unknown: bool = False

    @property
    def label(self) -> str:
        """The most probable class."""
        return self.labels[0]["label"]

    @property
    def score(self) -> float:
        """The probability of `label`, in 0..1."""
        return self.labels[0]["score"]

    def __repr__(self) -> str:
        more = ", ..." if len(self.labels) > _MAX_SHOWN else ""
        unknown = "unknown, else " if self.is_unknown else ""
        return f"Prediction({_short(self.source)}: {unknown}{_best(self, _MAX_SHOWN)}{more})"

    def _repr_html_(self) -> str:
        return Predictions([self])._repr_html_()


class Predictions(list[Prediction]):
    """A list of predictions that a notebook shows as a table; a slice is such a list, too."""

    @overload
    def __getitem__(self, index: SupportsIndex) -> Prediction: ...

    @overload
    def __getitem__(self, index: slice) -> "Predictions": ...

    def __getitem__(self, index: SupportsIndex | slice) -> "Prediction | Predictions":
        chosen = super().__getitem__(index)
        return chosen if isinstance(chosen, Prediction) else Predictions(chosen)

    def __repr__(self) -> str:
        shown = [repr(prediction) for prediction in self[:_MAX_SHOWN]]
        rest = [f"... and {len(self) - _MAX_SHOWN:,} more"] if len(self) > _MAX_SHOWN else []
        return f"[{', '.join(shown + rest)}]"

    def _repr_html_(self) -> str:
        """Return a table of the first 50 predictions, with thumbnails if they have any."""
        shown = self[:_MAX_ROWS]
        has_thumbnails = any(prediction.thumbnail for prediction in shown)
        header = [*([""] if has_thumbnails else []), "photo", "label", "score", "next"]
        rows: list[list[str | bytes]] = []
        for prediction in shown:
            next_labels = ", ".join(f"{each['label']} {each['score']:.1%}" for each in prediction.labels[1:3])
            best = f"unknown ({prediction.label})" if prediction.is_unknown else prediction.label
            cells = [prediction.source, best, f"{prediction.score:.1%}", next_labels]
            rows.append([*([prediction.thumbnail or ""] if has_thumbnails else []), *cells])
        rest = f"... and {len(self) - _MAX_ROWS:,} more" if len(self) > _MAX_ROWS else ""
        return html_table(header, rows, footer=rest)


def _best(prediction: Prediction, number: int) -> str:
    return ", ".join(f"{_short(best['label'])} {best['score']:.1%}" for best in prediction.labels[:number])


def _short(name: str) -> str:
    return shorten(escape(name), _MAX_NAME)
