"""`allmlp predict`."""

import csv
import enum
import io
import json
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from allmlp.cli.arguments.checkpoint import CheckpointArgument, ImageSizeOption, load
from allmlp.cli.arguments.photos import STANDARD_INPUT, PhotosArgument, check_sources, find_photos
from allmlp.cli.console import BatchSizeOption, DeviceOption, note, pad
from allmlp.errors import ConfigError, DataError

if TYPE_CHECKING:
    from allmlp.inference import Prediction

__all__ = ["Format", "predict"]

_MAX_PATH_COLUMNS = 60


class Format(enum.StrEnum):
    """How answers are printed; all but `table` are for programs."""

    TABLE = "table"
    JSON = "json"
    JSONL = "jsonl"
    CSV = "csv"


def predict(
    checkpoint: CheckpointArgument,
    photos: PhotosArgument,
    output: Annotated[Format, typer.Option("--format", help="How to print the answers.")] = Format.TABLE,
    top_k: Annotated[int, typer.Option(help="How many classes to name, best first.")] = 5,
    image_size: ImageSizeOption = None,
    batch_size: BatchSizeOption = 32,
    device: DeviceOption = "auto",
) -> None:
    """Name what photos show, as text, JSON or CSV. Exits 3, the others answered, when some cannot be read."""
    if top_k < 1:
        raise ConfigError(f"--top-k is {top_k}; expected at least 1.")
    check_sources(photos)
    from allmlp.inference import Predictor

    predictor = Predictor.from_checkpoint(load(checkpoint, image_size), device=device, batch_size=batch_size)
    found, num_failed = find_photos(photos)
    answers = _Answers(predictor.stream((photo for _, photo in found), top_k=top_k), num_failed)
    for line in _lines(output, answers, [name for name, _ in found], predictor.class_names, top_k):
        print(line, flush=True)
    if answers.num_failed:
        total = answers.num_failed + answers.num_answered
        note(f"{answers.num_failed:,} of {total:,} could not be read; all others are answered.")
        raise typer.Exit(DataError.exit_code)
    if output is Format.TABLE:
        note("\nFor programs: add --format json, jsonl or csv.")


class _Answers:
    """Predictions as they come; errors go to standard error as they come."""

    def __init__(self, answers: "Iterator[Prediction | DataError]", num_failed: int) -> None:
        self._answers = answers
        self.num_failed = num_failed
        self.num_answered = 0

    def __iter__(self) -> "Iterator[Prediction]":
        for answer in self._answers:
            if isinstance(answer, DataError):
                self.num_failed += 1
                note(f"allmlp: {answer}")
            else:
                self.num_answered += 1
                yield answer


def _lines(
    output: Format,
    answers: _Answers,
    found: Sequence[str],
    class_names: Sequence[str],
    top_k: int,
) -> Iterator[str]:
    if output is Format.TABLE:
        return _table(answers, found, class_names)
    if output is Format.CSV:
        return _csv(answers, min(top_k, len(class_names)))
    return _json(answers) if output is Format.JSON else (json.dumps(_record(answer)) for answer in answers)


def _table(answers: _Answers, found: Sequence[str], class_names: Sequence[str]) -> Iterator[str]:
    from rich.cells import cell_len

    from allmlp.io.display import escape

    # Widths are known beforehand, so that lines can be printed as answers come.
    path_width = min(max((cell_len(escape(path)) for path in found), default=0), _MAX_PATH_COLUMNS)
    label_width = max(cell_len(escape(name)) for name in class_names)
    for answer in answers:
        best = (f"{pad(escape(label['label']), label_width)} {label['score']:6.1%}" for label in answer.labels)
        yield "  ".join([pad(escape(answer.source), path_width), *best])


def _record(answer: "Prediction") -> dict[str, Any]:
    return {"path": answer.source, "predictions": list(answer.labels)}


def _json(answers: _Answers) -> Iterator[str]:
    # Written piece by piece: an array for a million photos need not fit in memory. ASCII only, which keeps names with
    # control characters, or with bytes that are no text, whole and harmless.
    first = True
    for answer in answers:
        yield ("[" if first else ",") + json.dumps(_record(answer))
        first = False
    yield "[]" if first else "]"


def _csv(answers: _Answers, top_k: int) -> Iterator[str]:
    yield _csv_line(["path", *(f"{name}_{rank}" for rank in range(1, top_k + 1) for name in ("label", "score"))])
    for answer in answers:
        labels = (cell for label in answer.labels for cell in (_cell(label["label"]), f"{label['score']:.6f}"))
        yield _csv_line([_cell(answer.source), *labels])


def _csv_line(cells: Sequence[str]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="").writerow(cells)
    return text.getvalue()


def _cell(text: str) -> str:
    """Return `text` on one line, and with an apostrophe in front where a spreadsheet would run it as a formula."""
    from allmlp.io.display import escape

    shown = escape(text)
    return "'" + shown if shown.startswith(("=", "+", "-", "@")) and shown != STANDARD_INPUT else shown
