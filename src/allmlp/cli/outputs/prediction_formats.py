"""Predictions as text, CSV, JSON and Parquet, printed or written as they arrive."""

import csv
import io
import itertools
from collections.abc import Iterable, Iterator, Sequence
from typing import IO, TYPE_CHECKING, Any, NamedTuple

from allmlp.cli.arguments.output_format import PredictionFormat
from allmlp.cli.console import pad
from allmlp.io.json_object import json_text

if TYPE_CHECKING:
    from allmlp.inference import Prediction

__all__ = ["Layout", "prediction_lines", "write_predictions"]

_MAX_PATH_COLUMNS = 60
_MAX_LABEL = 200  # characters; a stranger's checkpoint may have names of megabytes
_ROWS_PER_GROUP = 10_000


class Layout(NamedTuple):
    """What is known of the predictions before the first one.

    paths: of all photos. class_names: the model's. top_k: labels per photo. min_score: None, or the score below which a
    prediction is marked as unsure; then every row says whether it is. has_unknown: whether every row says whether the photo is
    of none of the classes.
    """

    paths: Sequence[str]
    class_names: Sequence[str]
    top_k: int
    min_score: float | None
    has_unknown: bool = False

    def is_unsure(self, prediction: "Prediction") -> bool:
        """Return whether a prediction's score is below `min_score`."""
        return self.min_score is not None and prediction.score < self.min_score

    def marks(self, prediction: "Prediction") -> dict[str, bool]:
        """Return what a row says about a prediction, by the name of the column."""
        marks = {"unknown": prediction.is_unknown} if self.has_unknown else {}
        return marks if self.min_score is None else {**marks, "unsure": self.is_unsure(prediction)}

    @property
    def columns(self) -> list[str]:
        """The columns of a table of predictions."""
        ranks = range(1, min(self.top_k, len(self.class_names)) + 1)
        marks = (["unknown"] if self.has_unknown else []) + ([] if self.min_score is None else ["unsure"])
        return ["path", *marks, *(f"{name}_{rank}" for rank in ranks for name in ("label", "score"))]


def prediction_lines(chosen: PredictionFormat, predictions: "Iterable[Prediction]", layout: Layout) -> Iterator[str]:
    """Yield the lines of a format, each as soon as its prediction arrives. Only those of CSV may hold control characters."""
    if chosen is PredictionFormat.CSV:
        return _csv(predictions, layout)
    if chosen is PredictionFormat.JSON:
        return _json(predictions, layout)
    if chosen is PredictionFormat.JSONL:
        return (json_text(_record(prediction, layout)) for prediction in predictions)
    return _text(predictions, layout)


def write_predictions(
    chosen: PredictionFormat, predictions: "Iterable[Prediction]", layout: Layout, file: IO[bytes]
) -> None:
    """Write predictions to an open file as they arrive."""
    if chosen is PredictionFormat.PARQUET:
        _write_parquet(predictions, layout, file)
        return
    for line in prediction_lines(chosen, predictions, layout):
        file.write(line.encode("utf-8", "backslashreplace") + b"\n")


def _text(predictions: "Iterable[Prediction]", layout: Layout) -> Iterator[str]:
    from rich.cells import cell_len

    from allmlp.io.display import escape, shorten

    def shown(name: str) -> str:
        return shorten(escape(name), _MAX_LABEL)

    # Widths are computed in advance, so that each line can be printed when its prediction arrives.
    path_width = min(max((cell_len(escape(path)) for path in layout.paths), default=0), _MAX_PATH_COLUMNS)
    label_width = max(cell_len(shown(name)) for name in layout.class_names)
    for prediction in predictions:
        marks = [_mark(prediction, layout)] if layout.has_unknown or layout.min_score is not None else []
        best = (f"{pad(shown(label['label']), label_width)} {label['score']:6.1%}" for label in prediction.labels)
        yield "  ".join([pad(escape(prediction.source), path_width), *marks, *best])


def _mark(prediction: "Prediction", layout: Layout) -> str:
    """Return one word in a column: a photo that is unknown need not be called unsure."""
    word = next((name for name, is_so in layout.marks(prediction).items() if is_so), "")
    return pad(word, len("unknown") if layout.has_unknown else len("unsure"))


def _record(prediction: "Prediction", layout: Layout) -> dict[str, Any]:
    return {"path": prediction.source, **layout.marks(prediction), "predictions": list(prediction.labels)}


def _json(predictions: "Iterable[Prediction]", layout: Layout) -> Iterator[str]:
    # Written element by element: an array for a million photos need not fit in memory. ASCII only, so that names with
    # control characters or undecodable bytes stay intact and harmless.
    first = True
    for prediction in predictions:
        yield ("[" if first else ",") + json_text(_record(prediction, layout))
        first = False
    yield "[]" if first else "]"


def _csv(predictions: "Iterable[Prediction]", layout: Layout) -> Iterator[str]:
    yield _csv_line(layout.columns)
    for prediction in predictions:
        marks = [str(is_so).lower() for is_so in layout.marks(prediction).values()]
        labels = (cell for label in prediction.labels for cell in (label["label"], f"{label['score']:.6f}"))
        yield _csv_line([prediction.source, *marks, *labels])


def _csv_line(cells: Sequence[str]) -> str:
    """Return a row that any reader of CSV gives back as it is: nothing is added to what a spreadsheet takes for a formula."""
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\r\n").writerow(cells)  # both line breaks are quoted only if they end the rows
    return text.getvalue().removesuffix("\r\n")


def _write_parquet(predictions: "Iterable[Prediction]", layout: Layout, file: IO[bytes]) -> None:
    """Write the columns of CSV, with text as it is, scores as numbers, and `unknown` and `unsure` as booleans."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    from allmlp.io.display import utf8

    kinds = {
        "path": pa.string(),
        "unknown": pa.bool_(),
        "unsure": pa.bool_(),
        "label": pa.string(),
        "score": pa.float64(),
    }
    schema = pa.schema([(name, kinds[name.partition("_")[0]]) for name in layout.columns])
    rows = (
        [
            utf8(prediction.source),
            *layout.marks(prediction).values(),
            *(value for label in prediction.labels for value in (label["label"], label["score"])),
        ]
        for prediction in predictions
    )
    with pq.ParquetWriter(file, schema) as writer:
        while group := list(itertools.islice(rows, _ROWS_PER_GROUP)):
            columns = [
                pa.array(column, kind) for column, kind in zip(zip(*group, strict=True), schema.types, strict=True)
            ]
            writer.write_table(pa.Table.from_arrays(columns, schema=schema))
