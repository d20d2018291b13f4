"""The command `allmlp embed`."""

import os
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
    MeanOption,
    ModelArgument,
    PrecisionOption,
    StdOption,
    changed_preprocessing,
    check_order,
    model_opener,
    option_words,
)
from allmlp.cli.arguments.folder_options import ClassesFromOption, SplitFoldersOption, folder_options
from allmlp.cli.arguments.photos import MaxMegapixelsOption, check_sources, find_photos, limit_photos, shown_sources
from allmlp.cli.console import BatchSizeOption, DeviceOption, aligned, command_line, heading, next_commands, note, say
from allmlp.cli.outputs.bulk_options import BulkOptions, EngineOption, PartSizeOption, ProcessesOption, bulk_folder
from allmlp.cli.outputs.bulk_run import answer_in_bulk
from allmlp.cli.outputs.features_file import Features, features_path, read_command, write_features
from allmlp.cli.progress import photo_bar
from allmlp.errors import ConfigError, DataError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from allmlp.data import ImageDataset, Split
    from allmlp.inference import Embedder

__all__ = ["embed"]


def embed(
    checkpoint: ModelArgument,
    photos: Annotated[
        list[str],
        typer.Argument(
            metavar="PHOTOS",
            help="Photos, folders that are searched recursively, quoted patterns such as 'photos/*.jpg', or - for standard "
            "input; with --split, one data set.",
            show_default=False,
        ),
    ],
    out: Annotated[
        str | None,
        typer.Option(
            "-o",
            "--out",
            metavar="FILE|FOLDER/",
            help="Write a new .npz or .parquet file; or, for any number of photos, Parquet files into FOLDER/, where the same "
            "command goes on after it was stopped.",
            show_default=False,
        ),
    ] = None,
    nearest: Annotated[
        str | None,
        typer.Option(metavar="PHOTO", help="Print the photos that are most similar to PHOTO.", show_default=False),
    ] = None,
    top_k: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="With --nearest: how many photos.", show_default="10")
    ] = None,
    split: Annotated[
        str | None,
        typer.Option(
            help="Take PHOTOS as a labelled data set, and embed its split train, validation (val) or test.",
            show_default=False,
        ),
    ] = None,
    image_size: ImageSizeOption = None,
    mean: MeanOption = None,
    std: StdOption = None,
    interpolation: InterpolationOption = None,
    fit: FitOption = None,
    law: LawOption = None,
    batch_size: BatchSizeOption = 32,
    device: DeviceOption = "auto",
    backend: BackendOption = "auto",
    precision: PrecisionOption = "auto",
    max_megapixels: MaxMegapixelsOption = None,
    classes_from: ClassesFromOption = None,
    split_folders: SplitFoldersOption = None,
    engine: EngineOption = "local",
    processes: ProcessesOption = None,
    part_size: PartSizeOption = None,
) -> None:
    """Write the features of photos to a file. With --nearest, finds the photos that are most similar to one.

    \b
    Examples:
      allmlp embed runs/mine photos/ -o features.npz
      allmlp embed runs/mine photos/ --nearest photo.jpg
      allmlp embed runs/mine photos/ -o results/ && allmlp search photo.jpg --in results/

    Exits with 3 if photos cannot be read: the features of the others are written, except with --split.
    """
    limit_photos(max_megapixels)
    check_order("embed", checkpoint, photos)
    bulk = BulkOptions(engine, processes, part_size)
    folder = bulk_folder(out, bulk)
    path = None if folder is not None else features_path(out)
    options_of_data = folder_options(classes_from, split_folders)
    if folder is not None:
        _check_bulk(
            {"--nearest": nearest, "--top-k": top_k, "--split": split}, has_folder_options=bool(options_of_data)
        )
    else:
        _check_options(photos, path, nearest, top_k, split, has_folder_options=bool(options_of_data))
    changes = changed_preprocessing(mean, std, interpolation, fit, law)
    if folder is not None:
        answer_in_bulk(
            folder,
            "embed",
            checkpoint,
            photos,
            bulk,
            image_size=image_size,
            changes=changes,
            backend=backend,
            precision=precision,
            device=device,
            batch_size=batch_size,
            max_megapixels=max_megapixels,
        )
        return
    from allmlp.inference import Embedder

    model = model_opener(checkpoint, image_size, changes, backend, precision)(device, "features")
    embedder = Embedder(model, batch_size=batch_size)
    query = None if nearest is None else _features_of(embedder, nearest)
    num_failed, shots, words = 0, "", []
    itself = None
    if split is None:
        features, num_failed = _of_photos(embedder, photos)
    else:
        from allmlp.data import command_options, open_dataset

        dataset = open_dataset(photos[0], **options_of_data)
        words = command_options(dataset.options)
        features, shots, itself = _of_split(embedder, checkpoint, dataset, split, nearest)
    if path is not None:
        write_features(features, path)
    if nearest is not None and query is not None:
        _print_nearest(features, nearest, query, top_k or 10, itself)
    if num_failed:
        num_photos = num_failed + len(features.paths)
        where = "" if path is None else f"; the features of all others are in {path}"
        note(f"{num_failed:,} of {num_photos:,} could not be read{where}.")
        raise typer.Exit(DataError.exit_code)
    options = [*words, *option_words(image_size, changes, backend=backend, precision=precision)]
    again = ["embed", checkpoint, *shown_sources(photos), *options, *([] if split is None else ["--split", split])]
    rows = _next_rows(again, path, is_searched=nearest is not None)
    if shots:
        command = command_line("evaluate", checkpoint, photos[0], *options, "--shots", shots)
        rows.append((command, "score them: a linear classifier from few photos per class"))
    next_commands(rows)


def _next_rows(again: Sequence[str], path: Path | None, *, is_searched: bool) -> list[tuple[str, str]]:
    """Return commands to run next; `again` are the words of the command that computes the same features."""
    if path is None:
        rows = [(command_line(*again, "-o", "features.npz"), "write the features")]
    else:
        rows = [(read_command(path), "read the features")]
    if not is_searched:
        rows.append((f"{command_line(*again)} --nearest PHOTO.jpg", "find the photos that are most similar to one"))
    return rows


def _check_options(
    photos: Sequence[str],
    path: Path | None,
    nearest: str | None,
    top_k: int | None,
    split: str | None,
    *,
    has_folder_options: bool,
) -> None:
    """Raise a ConfigError if options are missing, would have no effect, or do not suit the photos."""
    if path is None and nearest is None:
        raise ConfigError("There is nothing to do with the features: add -o FILE.npz, or --nearest PHOTO.")
    if top_k is not None and nearest is None:
        raise ConfigError("--top-k without --nearest would have no effect; add --nearest PHOTO, or omit --top-k.")
    check_sources(photos)
    if split is not None and len(photos) != 1:
        raise ConfigError(f"--split takes one data set, but {len(photos)} were given.")
    if has_folder_options and split is None:
        raise ConfigError("--classes-from and --split-folders are for data sets; add --split, or omit them.")
    if split is None:
        _check_no_dataset(photos)


def _check_bulk(others: dict[str, object], *, has_folder_options: bool) -> None:
    """Raise a ConfigError if options do not suit a folder of results."""
    given = [name for name, value in others.items() if value is not None]
    if has_folder_options:
        given.append("--classes-from or --split-folders")
    if given:
        raise ConfigError(f"{' and '.join(given)}: not with --out FOLDER/; name a file, or omit --out.")


def _features_of(embedder: "Embedder", photo: str) -> "NDArray[np.float32]":
    if os.path.isdir(photo):  # noqa: PTH112 - Path.is_dir raises if a name is too long or inaccessible
        raise ConfigError(f"--nearest {photo}: a folder; expected one photo.")
    features: NDArray[np.float32] = embedder.embed(photo)[0]
    return features


def _print_nearest(content: Features, photo: str, query: "NDArray[np.float32]", top_k: int, itself: int | None) -> None:
    """Print the photos that are most similar to a photo, without the photo itself, also by its index if that is known."""
    from allmlp.inference import nearest
    from allmlp.io.display import escape

    own = os.path.realpath(photo)
    others = [index for index, path in enumerate(content.paths) if index != itself and os.path.realpath(path) != own]
    if not others:
        raise DataError(f"{escape(photo)}: there are no other photos to compare it with. Give more photos or a folder.")
    best = nearest(content.features[others], query, top_k=top_k)
    rows = [(f"{similarity:.3f}", escape(content.paths[others[index]])) for index, similarity in best]
    lines = aligned([("similarity", "photo"), *rows], right=(0,))
    heading(lines[0])
    say("\n".join(lines[1:]))


def _check_no_dataset(photos: Sequence[str]) -> None:
    """Raise a ConfigError that asks for --split if a data set was given in place of photos."""
    from allmlp.data import DATASETS

    endings = (".zip", ".parquet", ".csv")
    datasets = [
        source
        for source in photos
        if source.lower().endswith(endings) or (source in DATASETS and not Path(source).exists())
    ]
    if datasets:
        raise ConfigError(
            f"{', '.join(datasets)}: a data set, not a photo. Choose its split: --split train, validation or test."
        )


def _of_photos(embedder: "Embedder", photos: Sequence[str]) -> tuple[Features, int]:
    """Embed the readable photos; report the problems of the others and return their number."""
    import numpy as np

    found, num_failed = find_photos(photos)
    paths, rows = [], []
    with photo_bar() as progress:
        for done, (name, row) in enumerate(embedder.stream(photo for _, photo in found), start=1):
            if isinstance(row, DataError):
                num_failed += 1
                note(f"allmlp: {row}")
            else:
                paths.append(name)
                rows.append(row)
            progress(done, len(found))
    if not rows:
        raise DataError("none of the photos could be read; nothing was written.")
    return Features(np.stack(rows), paths), num_failed


def _of_split(
    embedder: "Embedder", checkpoint: str, dataset: "ImageDataset", split_name: str, nearest: str | None
) -> tuple[Features, str, int | None]:
    """Embed a split; return its features, the value of `evaluate --shots` that suits the data set, "" or "1,5", and the index
    of the photo at `nearest`, if it is in the split."""
    import numpy as np

    from allmlp.evaluation import choose_split, divide_as_run, split_of_run

    saved = split_of_run(checkpoint)
    with dataset.notes_with_errors():
        choice = choose_split(dataset, saved, split_name)
    for line in (*dataset.notes, choice.remark):
        if line:
            note(line)
    with photo_bar() as progress:
        features = embedder.embed_split(choice.photos, progress=progress)
    splits, _ = divide_as_run(dataset, saved)
    class_size = 0  # examples of the smallest class
    if "train" in splits and len(splits) > 1:
        class_size = min(np.bincount(splits["train"].labels, minlength=len(dataset.class_names)))
    shots = ",".join(str(number) for number in (1, 5, 10) if number <= class_size)
    content = Features(features, choice.photos.sample_ids, choice.photos.labels, dataset.class_names)
    return content, shots, None if nearest is None else _index_of(choice.photos, nearest)


def _index_of(split: "Split", photo: str) -> int | None:
    """Return the index of a photo in a split: it has the end of its path, and its bytes."""
    path = os.path.realpath(photo).replace(os.sep, "/")
    candidates = [index for index, name in enumerate(split.sample_ids) if path.endswith(f"/{name}")]
    content = Path(photo).read_bytes() if candidates else b""
    return next((index for index in candidates if split.read(index) == content), None)
