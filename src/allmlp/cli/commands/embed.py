"""The command `allmlp embed`."""

from collections.abc import Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING, Annotated, Any, NamedTuple

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
    option_words,
)
from allmlp.cli.arguments.folder_options import ClassesFromOption, SplitFoldersOption, folder_options
from allmlp.cli.arguments.output_path import new_output_path
from allmlp.cli.arguments.photos import MaxMegapixelsOption, check_sources, find_photos, limit_photos
from allmlp.cli.console import BatchSizeOption, DeviceOption, command_line, next_commands, note, say
from allmlp.errors import ConfigError, DataError

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    from numpy.typing import NDArray

    from allmlp.data import ImageDataset
    from allmlp.inference import Embedder

__all__ = ["embed"]


class _Features(NamedTuple):
    """Features (n, C) of photos, the paths of the photos, and their labels (n,) and class names if they are labelled."""

    features: "NDArray[np.float32]"
    paths: Sequence[str]
    labels: "NDArray[np.int64] | None" = None
    class_names: tuple[str, ...] = ()


def embed(
    checkpoint: CheckpointArgument,
    photos: Annotated[
        list[str],
        typer.Argument(
            metavar="PHOTOS",
            help="Photos, folders that are searched recursively, or - for standard input; with --split, one data set.",
            show_default=False,
        ),
    ],
    output: Annotated[
        str,
        typer.Option("-o", "--output", metavar="FILE", help="A new .npz or .parquet file.", show_default=False),
    ],
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
    batch_size: BatchSizeOption = 32,
    device: DeviceOption = "auto",
    max_megapixels: MaxMegapixelsOption = None,
    classes_from: ClassesFromOption = None,
    split_folders: SplitFoldersOption = None,
) -> None:
    """Write the features of photos to an npz or Parquet file.

    Exits with 3 if photos cannot be read: the features of the others are written, except with --split.
    """
    limit_photos(max_megapixels)
    check_order("embed", checkpoint, photos)
    path = new_output_path(output, is_folder=False, name="--output", example="features.npz")
    write = _WRITERS.get(path.suffix.lower())
    if write is None:
        raise ConfigError(f"--output {output}: expected a name that ends in {' or '.join(_WRITERS)}.")
    changes = changed_preprocessing(mean, std, interpolation, fit)
    check_sources(photos)
    if split is not None and len(photos) != 1:
        raise ConfigError(f"--split takes one data set, but {len(photos)} were given.")
    options = folder_options(classes_from, split_folders)
    if options and split is None:
        raise ConfigError("--classes-from and --split-folders are for data sets; add --split, or omit them.")
    from allmlp.inference import Embedder

    if split is None:
        _check_no_dataset(photos)
    embedder = Embedder.from_checkpoint(load(checkpoint, image_size, changes), device=device, batch_size=batch_size)
    num_failed, shots, words = 0, "", []
    if split is None:
        features, num_failed = _of_photos(embedder, photos)
    else:
        from allmlp.data import command_options, open_dataset

        dataset = open_dataset(photos[0], **options)
        words = command_options(dataset.options)
        features, shots = _of_split(embedder, checkpoint, dataset, split)
    _write(features, path, write)
    if num_failed:
        num_photos = num_failed + len(features.paths)
        note(f"{num_failed:,} of {num_photos:,} could not be read; the features of all others are in {path}.")
        raise typer.Exit(DataError.exit_code)
    rows = [(_read_command(path), "read the features")]
    if split is not None and shots:
        command = command_line(
            "evaluate", checkpoint, photos[0], *words, *option_words(image_size, changes), "--shots", shots
        )
        rows.append((command, "score them: a linear classifier from few photos per class"))
    next_commands(rows)


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


def _of_photos(embedder: "Embedder", photos: Sequence[str]) -> tuple[_Features, int]:
    """Embed the readable photos; report the problems of the others and return their number."""
    import numpy as np

    found, num_failed = find_photos(photos)
    paths, rows = [], []
    for name, row in embedder.stream(photo for _, photo in found):
        if isinstance(row, DataError):
            num_failed += 1
            note(f"allmlp: {row}")
        else:
            paths.append(name)
            rows.append(row)
    if not rows:
        raise DataError("none of the photos could be read; nothing was written.")
    return _Features(np.stack(rows), paths), num_failed


def _of_split(embedder: "Embedder", checkpoint: str, dataset: "ImageDataset", split_name: str) -> tuple[_Features, str]:
    """Embed a split; return its features, and the value of `evaluate --shots` that suits the data set: "" or "1,5"."""
    import numpy as np

    from allmlp.evaluation import choose_split, divide_as_run, split_of_run

    saved = split_of_run(checkpoint)
    with dataset.notes_with_errors():
        choice = choose_split(dataset, saved, split_name)
    for line in (*dataset.notes, choice.remark):
        if line:
            note(line)
    features = embedder.embed_split(choice.photos)
    splits, _ = divide_as_run(dataset, saved)
    class_size = 0  # examples of the smallest class
    if "train" in splits and len(splits) > 1:
        class_size = min(np.bincount(splits["train"].labels, minlength=len(dataset.class_names)))
    shots = ",".join(str(number) for number in (1, 5, 10) if number <= class_size)
    return _Features(features, choice.photos.sample_ids, choice.photos.labels, dataset.class_names), shots


def _write(content: _Features, path: Path, write: "Callable[[_Features, IO[bytes]], None]") -> None:
    from allmlp.io.atomic_write import write_together
    from allmlp.io.display import escape

    write_together({path: lambda file: write(content, file)})
    labels = "" if content.labels is None else f" and labels of {len(content.class_names):,} classes"
    num_photos, num_features = content.features.shape
    say(
        f"Wrote {escape(path)} ({path.stat().st_size / 1e6:,.1f} MB): {num_features:,} features of "
        f"{num_photos:,} photos, float32{labels}"
    )


def _write_npz(content: _Features, file: IO[bytes]) -> None:
    import numpy as np

    arrays: dict[str, Any] = {"features": content.features, "paths": np.array(content.paths, dtype=np.str_)}
    if content.labels is not None:
        arrays |= {"labels": content.labels, "class_names": np.array(content.class_names, dtype=np.str_)}
    np.savez(file, **arrays)


def _write_parquet(content: _Features, file: IO[bytes]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    # Text in Parquet is UTF-8; bytes of a file name that are not become escapes.
    columns = {"path": pa.array([path.encode("utf-8", "backslashreplace").decode() for path in content.paths])}
    if content.labels is not None:
        columns["label"] = pa.array([content.class_names[label] for label in content.labels])
    features = pa.array(content.features.ravel())
    columns["features"] = pa.FixedSizeListArray.from_arrays(features, content.features.shape[1])
    pq.write_table(pa.table(columns), file)


_WRITERS: "dict[str, Callable[[_Features, IO[bytes]], None]]" = {".npz": _write_npz, ".parquet": _write_parquet}


def _read_command(path: Path) -> str:
    import shlex

    text = repr(str(path))
    if not set(text[1:-1]) & set("\"'\\"):
        text = f'"{text[1:-1]}"'  # more readable within the shell's single quotes
    if path.suffix.lower() == ".npz":
        code = f"import numpy; print(dict(numpy.load({text})))"
    else:
        code = f"import pyarrow.parquet; print(pyarrow.parquet.read_table({text}))"
    return shlex.join(["python", "-c", code])
