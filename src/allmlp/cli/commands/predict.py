"""The command `allmlp predict`."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from allmlp.cli.arguments.checkpoint import (
    BackendOption,
    FitOption,
    ImageSizeOption,
    InterpolationOption,
    LawOption,
    LoadedSource,
    MeanOption,
    ModelArgument,
    PrecisionOption,
    StdOption,
    changed_preprocessing,
    check_order,
    load_source,
    open_source,
    option_words,
)
from allmlp.cli.arguments.output_format import PredictionFormat, format_and_path
from allmlp.cli.arguments.output_path import check_different, new_output_path
from allmlp.cli.arguments.photos import (
    STANDARD_INPUT,
    MaxMegapixelsOption,
    PhotosArgument,
    check_sources,
    find_photos,
    is_in_tar,
    limit_photos,
    shown_sources,
    source_paths,
)
from allmlp.cli.console import BatchSizeOption, DeviceOption, command_line, next_commands, note, say
from allmlp.cli.outputs.bulk_options import BulkOptions, EngineOption, PartSizeOption, ProcessesOption, bulk_folder
from allmlp.cli.outputs.bulk_run import answer_in_bulk
from allmlp.cli.outputs.prediction_formats import Layout
from allmlp.cli.outputs.predictions import ArrivingPredictions, Link, Outputs, explain_photos, produce
from allmlp.errors import ConfigError, DataError
from allmlp.io.display import summarise

if TYPE_CHECKING:
    from allmlp.explanations import Explainer

__all__ = ["predict"]


def predict(
    checkpoint: ModelArgument,
    photos: PhotosArgument,
    out: Annotated[
        str | None,
        typer.Option(
            "-o",
            "--out",
            metavar="FILE|FOLDER/",
            help="Write a new .csv, .json, .jsonl, .parquet or .txt file; or, for any number of photos, Parquet files into "
            "FOLDER/, where the same command goes on after it was stopped.",
            show_default=False,
        ),
    ] = None,
    output_format: Annotated[
        PredictionFormat | None,
        typer.Option("--format", help="The format.", show_default="by the file's ending, else text"),
    ] = None,
    top_k: Annotated[int, typer.Option(metavar="N", help="Number of classes per photo, best first.")] = 5,
    min_score: Annotated[
        float | None,
        typer.Option(
            metavar="S", help="Mark predictions with a score below S, from 0 to 1, as unsure.", show_default=False
        ),
    ] = None,
    sheet: Annotated[
        str | None,
        typer.Option(
            metavar="FILE.html", help="Write a page of the photos by predicted class, to look at.", show_default=False
        ),
    ] = None,
    sort_into: Annotated[
        str | None,
        typer.Option(
            metavar="FOLDER", help="Copy the photos into a new FOLDER, one sub-folder per class.", show_default=False
        ),
    ] = None,
    explain: Annotated[
        str | None,
        typer.Option(
            metavar="FOLDER",
            help="Write a page to a new FOLDER that shows which parts of each photo speak for its class.",
            show_default=False,
        ),
    ] = None,
    link: Annotated[
        Link | None,
        typer.Option(
            help="With --sort-into: link instead of copying. hard: the same file under a second name; symbolic: a pointer "
            "to it.",
            show_default=False,
        ),
    ] = None,
    unknown: Annotated[
        bool,
        typer.Option(
            "--unknown/--no-unknown",
            help="Mark photos of none of the classes, if the model has a threshold for them.",
        ),
    ] = True,
    flip: Annotated[
        bool, typer.Option("--flip", help="Average each photo and its mirror image; takes twice as long.")
    ] = False,
    image_size: ImageSizeOption = None,
    batch_size: BatchSizeOption = 32,
    device: DeviceOption = "auto",
    backend: BackendOption = "auto",
    precision: PrecisionOption = "auto",
    max_megapixels: MaxMegapixelsOption = None,
    mean: MeanOption = None,
    std: StdOption = None,
    interpolation: InterpolationOption = None,
    fit: FitOption = None,
    law: LawOption = None,
    engine: EngineOption = "local",
    processes: ProcessesOption = None,
    part_size: PartSizeOption = None,
) -> None:
    """Classify photos. Prints the predictions, writes them to a file or a page, or sorts the photos by them.

    \b
    Examples:
      allmlp predict runs/mine photo.jpg photos/
      allmlp predict runs/mine "photos/**/*.jpg" -o predictions.csv
      allmlp predict runs/mine photos/ --min-score 0.6 --sort-into sorted --sheet sheet.html
      allmlp predict runs/mine photo.jpg --explain why
      allmlp predict runs/mine photos.zip -o results/

    Exits with 3 if photos cannot be read; the others are classified. Your photos are never changed.
    """
    limit_photos(max_megapixels)
    check_order("predict", checkpoint, photos)
    if top_k < 1:
        raise ConfigError(f"--top-k is {top_k}; expected at least 1.")
    if min_score is not None and not 0.0 <= min_score <= 1.0:
        raise ConfigError(f"--min-score is {min_score}; expected a score from 0 to 1, such as 0.6.")
    changes = changed_preprocessing(mean, std, interpolation, fit, law)
    check_sources(photos)
    bulk = BulkOptions(engine, processes, part_size)
    if (folder := bulk_folder(out, bulk)) is not None:
        _check_bulk(output_format, {"--sheet": sheet, "--sort-into": sort_into, "--link": link, "--explain": explain})
        answer_in_bulk(
            folder,
            "predict",
            checkpoint,
            photos,
            bulk,
            image_size=image_size,
            changes=changes,
            backend=backend,
            precision=precision,
            device=device,
            batch_size=batch_size,
            top_k=top_k,
            flip=flip,
            min_score=min_score,
            unknown=unknown,
            max_megapixels=max_megapixels,
        )
        return
    chosen, path = format_and_path(output_format, out, example="predictions.csv")
    outputs = Outputs(chosen, path, _sheet_path(sheet), _sort_folder(sort_into, link, photos), link)
    explained = _explain_folder(explain, flip)
    check_different({"--out": path, "--sheet": outputs.sheet, "--sort-into": outputs.folder, "--explain": explained})
    from allmlp.inference import Predictor

    source = load_source(checkpoint, image_size, changes, backend)
    model = open_source(source, device, "logits", backend=backend, precision=precision)
    predictor = Predictor(model, batch_size=batch_size, unknown=unknown)
    explainer = None if explained is None else _explainer(source, backend, device)
    found, num_failed = find_photos(photos)
    are_files = not any(is_in_tar(photo) for _, photo in found)
    if outputs.folder is not None and not are_files:
        raise ConfigError("--sort-into copies files, and some of these photos are in a tar file. Unpack it first.")
    layout = Layout([name for name, _ in found], predictor.class_names, top_k, min_score, predictor.has_unknown)
    results = predictor.stream(
        (photo for _, photo in found), top_k=top_k, flip=flip, thumbnails=outputs.sheet is not None
    )
    predictions = ArrivingPredictions(results, layout, num_failed, _trained_on(checkpoint))
    written = produce(outputs, predictions, layout, model=checkpoint)
    if explainer is not None and explained is not None and predictions.num_predicted:
        written += explain_photos(explainer, predictions, found, explained, model=checkpoint)
    _finish(outputs, predictions, written)
    if outputs.path is not None:
        _next(
            outputs,
            checkpoint,
            photos,
            are_files,
            option_words(image_size, changes, backend=backend, precision=precision),
        )
    elif chosen is PredictionFormat.TEXT and sys.stdout.isatty():
        note(
            "\nFor programs: -o FILE.csv, .json or .parquet. To look at them: --sheet FILE.html. To see why: --explain FOLDER. "
            "In folders: --sort-into."
        )


def _check_bulk(output_format: PredictionFormat | None, others: dict[str, str | None]) -> None:
    """Raise a ConfigError if options do not suit a folder of results."""
    if output_format not in (None, PredictionFormat.PARQUET):
        raise ConfigError(
            f"--format {output_format}: a folder of results has Parquet files; name a file, or omit --format."
        )
    if given := [name for name, value in others.items() if value is not None]:
        raise ConfigError(f"{' and '.join(given)}: not with --out FOLDER/; name a file, or omit --out.")


def _trained_on(checkpoint: str) -> frozenset[str]:
    """Return what `allmlp.evaluation.trained_on_by` does; importing that would take longer than the prediction."""
    from allmlp.checkpoints import STARTER
    from allmlp.runs.photo_digests import trained_digests

    return frozenset() if checkpoint == STARTER else trained_digests(Path(checkpoint))


def _sheet_path(sheet: str | None) -> Path | None:
    if sheet is None:
        return None
    path = new_output_path(sheet, is_folder=False, name="--sheet", example="sheet.html")
    if path.suffix.lower() not in (".html", ".htm"):
        raise ConfigError(f"--sheet {sheet}: expected a name that ends in .html.")
    return path


def _sort_folder(folder: str | None, link: Link | None, photos: Sequence[str]) -> Path | None:
    if folder is None:
        if link is not None:
            raise ConfigError(
                "--link without --sort-into would have no effect; add --sort-into FOLDER, or omit --link."
            )
        return None
    if STANDARD_INPUT in photos:
        raise ConfigError("--sort-into cannot sort the photo on standard input, which has no name; save it to a file.")
    from allmlp.inference import check_sort_folder

    check_sort_folder(Path(folder), source_paths(photos))
    return new_output_path(folder, is_folder=True, name="--sort-into", example="sorted")


def _explain_folder(folder: str | None, flip: bool) -> Path | None:
    if folder is None:
        return None
    if flip:
        raise ConfigError(
            "--explain shows the answer for the photo as it is, not the average of --flip; omit one of them."
        )
    return new_output_path(folder, is_folder=True, name="--explain", example="why")


def _explainer(source: LoadedSource, backend: str, device: str) -> "Explainer":
    from allmlp.explanations import Explainer

    return Explainer.from_checkpoint(  # which photos are unknown, the predictions say
        source.model, backend=backend, device=device, preprocessing=source.changes, unknown=False
    )


def _finish(outputs: Outputs, predictions: ArrivingPredictions, written: Sequence[str]) -> None:
    """Report what was written, and which photos were trained on, could not be read, or were lost before their explanation.

    Raises:
        typer.Exit: with 3 if photos could not be read, or were lost.
    """
    tell = note if outputs.path is None else say  # standard output holds the predictions, or else these lines
    for line in written:
        tell(line)
    if predictions.trained_on:
        note(
            f"The model was trained on {len(predictions.trained_on):,} of these photos, known by their content: "
            f"{summarise(predictions.trained_on, limit=3)}."
        )
    if predictions.num_failed:
        total = predictions.num_failed + predictions.num_predicted
        rest = "all others are classified" if predictions.num_predicted else "no photo was classified"
        note(f"{predictions.num_failed:,} of {total:,} could not be read; {rest}.")
    if predictions.num_lost:
        note(
            f"{predictions.num_lost:,} of {predictions.num_predicted:,} could not be read again for their explanation."
        )
    if predictions.num_failed or predictions.num_lost:
        raise typer.Exit(DataError.exit_code)


def _next(outputs: Outputs, checkpoint: str, photos: Sequence[str], are_files: bool, options: Sequence[str]) -> None:
    again = ("predict", checkpoint, *shown_sources(photos), *options)
    rows = []
    if outputs.sheet is None:
        rows.append((command_line(*again, "--sheet", "sheet.html"), "look at the photos by predicted class"))
    if outputs.folder is None and are_files:
        rows.append((command_line(*again, "--sort-into", "sorted"), "copy them into one folder per class"))
    scored = command_line("evaluate", checkpoint, *options)
    next_commands([*rows, (f"{scored} PHOTOS", "score the model on labelled photos")])
