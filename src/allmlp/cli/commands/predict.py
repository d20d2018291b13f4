"""The command `allmlp predict`."""

import csv
import enum
import io
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from allmlp.cli.arguments.checkpoint import (
    CheckpointArgument,
    FitOption,
    ImageSizeOption,
    InterpolationOption,
    MeanOption,
    StdOption,
    changed_preprocessing,
    check_order,
    load,
)
from allmlp.cli.arguments.photos import (
    STANDARD_INPUT,
    MaxMegapixelsOption,
    PhotosArgument,
    check_sources,
    find_photos,
    limit_photos,
)
from allmlp.cli.console import BatchSizeOption, DeviceOption, note, pad
from allmlp.errors import ConfigError, DataError
from allmlp.io.display import summarise

if TYPE_CHECKING:
    from allmlp.inference import Prediction

__all__ = ["Format", "predict"]

_MAX_PATH_COLUMNS = 60


class Format(enum.StrEnum):
    """Output formats; all except `table` are for programs."""

    TABLE = "table"
    JSON = "json"
    JSONL = "jsonl"
    CSV = "csv"


def predict(
    checkpoint: CheckpointArgument,
    photos: PhotosArgument,
    output: Annotated[Format, typer.Option("--format", help="The output format.")] = Format.TABLE,
    top_k: Annotated[int, typer.Option(help="Number of classes per photo, best first.")] = 5,
    image_size: ImageSizeOption = None,
    mean: MeanOption = None,
    std: StdOption = None,
    interpolation: InterpolationOption = None,
    fit: FitOption = None,
    batch_size: BatchSizeOption = 32,
    device: DeviceOption = "auto",
    max_megapixels: MaxMegapixelsOption = None,
) -> None:
    """Classify photos and print text, JSON or CSV. Exits with 3 if photos cannot be read; the others are classified."""
    limit_photos(max_megapixels)
    check_order("predict", checkpoint, photos)
    if top_k < 1:
        raise ConfigError(f"--top-k is {top_k}; expected at least 1.")
    changes = changed_preprocessing(mean, std, interpolation, fit)
    check_sources(photos)
    from allmlp.evaluation import trained_on_by
    from allmlp.inference import Predictor

    predictor = Predictor.from_checkpoint(load(checkpoint, image_size, changes), device=device, batch_size=batch_size)
    found, num_failed = find_photos(photos)
    results = predictor.stream((photo for _, photo in found), top_k=top_k)
    predictions = _Predictions(results, num_failed, trained_on_by(checkpoint, None))
    for line in _lines(output, predictions, [name for name, _ in found], predictor.class_names, top_k):
        print(line, flush=True)
    if predictions.trained_on:
        note(
            f"The model was trained on {len(predictions.trained_on):,} of these photos, known by their content: "
            f"{summarise(predictions.trained_on, limit=3)}."
        )
    if predictions.num_failed:
        total = predictions.num_failed + predictions.num_predicted
        rest = "all others are classified" if predictions.num_predicted else "no photo was classified"
        note(f"{predictions.num_failed:,} of {total:,} could not be read; {rest}.")
        raise typer.Exit(DataError.exit_code)
    if output is Format.TABLE:
        note("\nFor programs: add --format json, jsonl or csv.")


class _Predictions:
    """Predictions as they arrive; errors are printed on standard error as they arrive.

    `trained` are the digests of the photos on which the model was trained; `trained_on` collects the names of predicted photos
    with such a digest.
    """

    def __init__(
        self, results: "Iterator[Prediction | DataError]", num_failed: int, trained: frozenset[str] = frozenset()
    ) -> None:
        self._results = results
        self._trained = trained
        self.trained_on: list[str] = []
        self.num_failed = num_failed
        self.num_predicted = 0

    def __iter__(self) -> "Iterator[Prediction]":
        for result in self._results:
            if isinstance(result, DataError):
                self.num_failed += 1
                note(f"allmlp: {result}")
            else:
                self.num_predicted += 1
                if self._trained and _digest(result.source) in self._trained:
                    self.trained_on.append(result.source)
                yield result


def _digest(path: str) -> str:
    """Return the digest of a photo that has just been read; "" if it is not a file, such as standard input."""
    from allmlp.data import photo_digest

    try:
        return photo_digest(Path(path).read_bytes()) if Path(path).is_file() else ""
    except OSError:
        return ""


def _lines(
    output: Format,
    predictions: _Predictions,
    paths: Sequence[str],
    class_names: Sequence[str],
    top_k: int,
) -> Iterator[str]:
    if output is Format.TABLE:
        return _table(predictions, paths, class_names)
    if output is Format.CSV:
        return _csv(predictions, min(top_k, len(class_names)))
    if output is Format.JSON:
        return _json(predictions)
    return (json.dumps(_record(prediction)) for prediction in predictions)


def _table(predictions: _Predictions, paths: Sequence[str], class_names: Sequence[str]) -> Iterator[str]:
    from rich.cells import cell_len

    from allmlp.io.display import escape

    # Widths are computed in advance, so that each line can be printed when its prediction arrives.
    path_width = min(max((cell_len(escape(path)) for path in paths), default=0), _MAX_PATH_COLUMNS)
    label_width = max(cell_len(escape(name)) for name in class_names)
    for prediction in predictions:
        best = (f"{pad(escape(label['label']), label_width)} {label['score']:6.1%}" for label in prediction.labels)
        yield "  ".join([pad(escape(prediction.source), path_width), *best])


def _record(prediction: "Prediction") -> dict[str, Any]:
    return {"path": prediction.source, "predictions": list(prediction.labels)}


def _json(predictions: _Predictions) -> Iterator[str]:
    # Written element by element: an array for a million photos need not fit in memory. ASCII only, so that names with
    # control characters or undecodable bytes stay intact and harmless.
    first = True
    for prediction in predictions:
        yield ("[" if first else ",") + json.dumps(_record(prediction))
        first = False
    yield "[]" if first else "]"


def _csv(predictions: _Predictions, top_k: int) -> Iterator[str]:
    yield _csv_line(["path", *(f"{name}_{rank}" for rank in range(1, top_k + 1) for name in ("label", "score"))])
    for prediction in predictions:
        labels = (cell for label in prediction.labels for cell in (_cell(label["label"]), f"{label['score']:.6f}"))
        yield _csv_line([_cell(prediction.source), *labels])


def _csv_line(cells: Sequence[str]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="").writerow(cells)
    return text.getvalue()


def _cell(text: str) -> str:
    """Return `text` on one line, with an apostrophe in front if a spreadsheet would run it as a formula."""
    from allmlp.io.display import escape

    shown = escape(text)
    return "'" + shown if shown.startswith(("=", "+", "-", "@")) and shown != STANDARD_INPUT else shown
