"""What `allmlp predict` produces: lines or a file of predictions, a contact sheet, sorted photos."""

import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, TYPE_CHECKING, Literal

from allmlp.cli.arguments.output_format import PredictionFormat
from allmlp.cli.console import note
from allmlp.cli.outputs.prediction_formats import Layout, prediction_lines, write_predictions
from allmlp.cli.progress import photo_bar
from allmlp.errors import DataError
from allmlp.io.display import Progress, counted, escape, file_size, no_progress, summarise

if TYPE_CHECKING:
    from allmlp.explanations import Explainer
    from allmlp.inference import Photo, Prediction

__all__ = ["ArrivingPredictions", "Link", "Outputs", "explain_photos", "produce"]

Link = Literal["hard", "symbolic"]
_VERBS = {None: "Copied", "hard": "Linked", "symbolic": "Linked"}


@dataclass(frozen=True)
class Outputs:
    """What to produce.

    path: the file for the predictions; None prints them. sheet: the page, if any. folder: where photos are sorted into,
    if at all, as copies or as links.
    """

    format: PredictionFormat
    path: Path | None
    sheet: Path | None
    folder: Path | None
    link: Link | None


class ArrivingPredictions:
    """Predictions as they arrive; errors are printed on standard error as they arrive.

    `trained` are the digests of the photos on which the model was trained; `trained_on` collects the names of predicted photos
    with such a digest. `are_unknown` says of each photo so far whether it is unknown, and None if it is unreadable. Every
    prediction is passed to each of `receivers` first; `progress` is called after each photo.
    """

    def __init__(
        self,
        results: "Iterator[Prediction | DataError]",
        layout: Layout,
        num_failed: int,
        trained: frozenset[str] = frozenset(),
    ) -> None:
        self._results = results
        self._layout = layout
        self._trained = trained
        self.receivers: list[Callable[[Prediction], object]] = []
        self.progress: Progress = no_progress
        self.trained_on: list[str] = []
        self.num_failed = num_failed
        self.num_predicted = 0
        self.num_unsure = 0
        self.num_unknown = 0
        self.num_lost = 0  # predicted, and unreadable when they were to be explained
        self.are_unknown: list[bool | None] = []

    def __iter__(self) -> "Iterator[Prediction]":
        for done, result in enumerate(self._results, start=1):
            if isinstance(result, DataError):
                self.num_failed += 1
                self.are_unknown.append(None)
                note(f"allmlp: {result}")
            else:
                self._receive(result)
                yield result
            self.progress(done, len(self._layout.paths))

    def _receive(self, prediction: "Prediction") -> None:
        self.num_predicted += 1
        self.num_unsure += self._layout.is_unsure(prediction)
        self.num_unknown += prediction.is_unknown
        self.are_unknown.append(prediction.is_unknown)
        if self._trained and _digest(prediction.source) in self._trained:
            self.trained_on.append(prediction.source)
        for receive in self.receivers:
            receive(prediction)


def _digest(path: str) -> str:
    """Return the digest of a photo that has just been read; "" if it is not a file, such as standard input."""
    from allmlp.data import photo_digest

    try:
        return photo_digest(Path(path).read_bytes()) if Path(path).is_file() else ""
    except OSError:
        return ""


def produce(outputs: Outputs, predictions: ArrivingPredictions, layout: Layout, *, model: str) -> list[str]:
    """Produce all outputs while the predictions arrive; return lines that name what was written.

    Raises:
        ConfigError: something could not be written.
        DataError: no photo could be read, and nothing would be in the file.
    """
    sort = _sort(outputs, predictions, layout)
    page = _page(outputs, predictions, layout, model)
    with photo_bar(is_shown=outputs.path is not None or not sys.stdout.isatty()) as predictions.progress:
        if outputs.path is None:
            for line in prediction_lines(outputs.format, predictions, layout):
                print(escape(line) if sys.stdout.isatty() else line, flush=True)  # programs read what is not shown
        else:
            _write(outputs.format, outputs.path, predictions, layout)
    if not predictions.num_predicted:
        return []
    return [*_wrote(outputs.path, predictions), *sort(), *page()]


def _wrote(path: Path | None, predictions: ArrivingPredictions) -> list[str]:
    counts = {"unknown": predictions.num_unknown, "unsure": predictions.num_unsure}
    marked = [(f"{count:,}", word) for word, count in counts.items() if count]
    if path is None:
        return [
            f"{count} of {predictions.num_predicted:,} {'is' if count == '1' else 'are'} {word}."
            for count, word in marked
        ]
    photos = counted(predictions.num_predicted, "photo")
    rest = "".join(f", {count} of them {word}" for count, word in marked)
    return [f"Wrote {escape(path)} ({file_size(path.stat().st_size)}): {photos}{rest}"]


def _write(chosen: PredictionFormat, path: Path, predictions: ArrivingPredictions, layout: Layout) -> None:
    from allmlp.io.atomic_write import write_together

    def write(file: IO[bytes]) -> None:
        write_predictions(chosen, predictions, layout, file)
        if not predictions.num_predicted:
            raise DataError("none of the photos could be read; nothing was written.")

    write_together({path: write})


def _sort(outputs: Outputs, predictions: ArrivingPredictions, layout: Layout) -> Callable[[], list[str]]:
    """Let photos be sorted as their predictions arrive; return a function that reports it at the end."""
    if outputs.folder is None:
        return list
    from allmlp.inference import PhotoSorter

    sorter = PhotoSorter(outputs.folder, layout.class_names, link=outputs.link)

    def add(each: "Prediction") -> None:
        label = None if layout.is_unsure(each) else each.label
        sorter.add(each.source, label, is_unknown=each.is_unknown)

    predictions.receivers.append(add)

    def report() -> list[str]:
        counts = summarise((f"{name} {count:,}" for name, count in sorter.counts.most_common()), limit=10)
        photos = counted(sorter.counts.total(), "photo")
        return [f"{_VERBS[outputs.link]} {photos} into {escape(sorter.folder)}: {counts}"]

    return report


def _page(outputs: Outputs, predictions: ArrivingPredictions, layout: Layout, model: str) -> Callable[[], list[str]]:
    """Let the page collect the predictions; return a function that writes it at the end and reports it."""
    path = outputs.sheet
    if path is None:
        return list
    from allmlp.report import ContactSheet

    page = ContactSheet(model, min_score=layout.min_score or 0.0)
    predictions.receivers.append(page.add)

    def write() -> list[str]:
        page.write(path)
        return [f"Wrote {escape(path)} ({file_size(path.stat().st_size)}): open it in a browser"]

    return write


def explain_photos(
    explainer: "Explainer",
    predictions: ArrivingPredictions,
    photos: "Sequence[tuple[str, Photo]]",
    folder: Path,
    *,
    model: str,
) -> list[str]:
    """Explain the photos that were predicted into a new folder; return lines that name what was written.

    A photo that was lost since its prediction is reported, and counted in `predictions.num_lost`.

    Raises:
        ConfigError: the folder could not be written to.
    """
    from allmlp.report import ExplanationFolder

    written = ExplanationFolder(folder, model)
    rest: list[tuple[Photo, bool]] = [
        ((name, photo) if isinstance(photo, bytes) else photo, is_unknown)
        for (name, photo), is_unknown in zip(photos, predictions.are_unknown, strict=True)
        if is_unknown is not None
    ]
    number = len(rest)
    with photo_bar() as progress:
        while rest:
            # Only photos with a card need occlusion; those that were lost leave their cards to others.
            cards = written.num_cards_left
            part, rest = (rest[:cards], rest[cards:]) if cards else (rest, [])
            answers = explainer.stream([photo for photo, _ in part], occlusion=cards > 0)
            for done, ((_, is_unknown), answer) in enumerate(zip(part, answers, strict=True), start=1):
                progress(number - len(rest) - len(part) + done, number)
                if isinstance(answer, DataError):
                    predictions.num_lost += 1
                    note(f"allmlp: {answer}")
                else:
                    written.add(replace(answer, is_unknown=is_unknown))
    return [written.close()]
