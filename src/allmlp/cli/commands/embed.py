"""`allmlp embed`."""

from collections.abc import Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from allmlp.cli.arguments.checkpoint import CheckpointArgument, ImageSizeOption, load, size_words
from allmlp.cli.arguments.output_path import new_output_path
from allmlp.cli.arguments.photos import check_sources, find_photos
from allmlp.cli.console import BatchSizeOption, DeviceOption, command_line, next_commands, note
from allmlp.errors import ConfigError, DataError

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    from numpy.typing import NDArray

    from allmlp.inference import Embedder

__all__ = ["embed"]


class _Features(NamedTuple):
    """Features (n, C) of photos, how these are called, and their labels (n,), where they have any, with the classes."""

    features: "NDArray[np.float32]"
    paths: Sequence[str]
    labels: "NDArray[np.int64] | None" = None
    class_names: tuple[str, ...] = ()


def embed(
    checkpoint: CheckpointArgument,
    photos: Annotated[
        list[str],
        typer.Argument(
            metavar="PHOTOS...",
            help="Files, folders searched to the bottom, - for standard input; with --split, one data set.",
            show_default=False,
        ),
    ],
    output: Annotated[
        str,
        typer.Option("-o", "--output", metavar="FILE", help="A new .npz or .parquet.", show_default=False),
    ],
    split: Annotated[
        str | None,
        typer.Option(
            help="PHOTOS is a data set, as train takes it: embed its train, validation (val) or test, with labels.",
            show_default=False,
        ),
    ] = None,
    image_size: ImageSizeOption = None,
    batch_size: BatchSizeOption = 32,
    device: DeviceOption = "auto",
) -> None:
    """Write the features of photos as npz or Parquet.

    Exits 3 when some cannot be read: the others are written, but nothing of a --split.
    """
    path = new_output_path(output, is_folder=False, name="--output", example="features.npz")
    write = _WRITERS.get(path.suffix.lower())
    if write is None:
        raise ConfigError(f"--output {output}: expected a name that ends in {' or '.join(_WRITERS)}.")
    check_sources(photos)
    if split is not None and len(photos) != 1:
        raise ConfigError(f"--split is of one data set; {len(photos)} were given.")
    from allmlp.inference import Embedder

    if split is None:
        _check_no_dataset(photos)
    embedder = Embedder.from_checkpoint(load(checkpoint, image_size), device=device, batch_size=batch_size)
    num_failed, shots = 0, ""
    if split is None:
        found, num_failed = _of_photos(embedder, photos)
    else:
        found, shots = _of_split(embedder, checkpoint, photos[0], split)
    _write(found, path, write)
    if num_failed:
        note(f"{num_failed:,} of {num_failed + len(found.paths):,} could not be read; all others are in {path}.")
        raise typer.Exit(DataError.exit_code)
    rows = [(_reading(path), "read them")]
    if split is not None and shots:
        command = command_line("evaluate", checkpoint, photos[0], *size_words(image_size), "--shots", shots)
        rows.append((command, "what they are worth: a linear classifier from few photos"))
    next_commands(rows)


def _check_no_dataset(photos: Sequence[str]) -> None:
    """Say what is missing when a data set was given as if it were photos."""
    from allmlp.data import DATASETS

    endings = (".zip", ".parquet", ".csv")
    found = [
        source
        for source in photos
        if source.lower().endswith(endings) or (source in DATASETS and not Path(source).exists())
    ]
    if found:
        raise ConfigError(
            f"{', '.join(found)}: a data set, not a photo. Say which of its photos: --split train, validation or test."
        )


def _of_photos(embedder: "Embedder", photos: Sequence[str]) -> tuple[_Features, int]:
    """Embed what can be read; say what is wrong with the others and count them."""
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
        raise DataError("None of the photos could be read; nothing was written.")
    return _Features(np.stack(rows), paths), num_failed


def _of_split(embedder: "Embedder", checkpoint: str, data: str, wanted: str) -> tuple[_Features, str]:
    """Embed a split; return its features, and what `evaluate --shots` can take of this data set: nothing, or "1,5"."""
    import numpy as np

    from allmlp.data import open_dataset
    from allmlp.evaluation import choose_split, divide_as_run, split_of_run

    dataset, saved = open_dataset(data), split_of_run(checkpoint)
    choice = choose_split(dataset, saved, wanted)
    for line in (*dataset.notes, choice.remark):
        if line:
            note(line)
    features = embedder.embed_split(choice.photos)
    splits, _ = divide_as_run(dataset, saved)
    smallest = 0  # examples of the smallest class
    if "train" in splits and len(splits) > 1:
        smallest = min(np.bincount(splits["train"].labels, minlength=len(dataset.class_names)))
    shots = ",".join(str(number) for number in (1, 5, 10) if number <= smallest)
    return _Features(features, choice.photos.sample_ids, choice.photos.labels, dataset.class_names), shots


def _write(found: _Features, path: Path, write: "Callable[[_Features, IO[bytes]], None]") -> None:
    from allmlp.io.atomic_write import write_together
    from allmlp.io.display import escape

    write_together({path: lambda file: write(found, file)})
    labels = "" if found.labels is None else f" and labels of {len(found.class_names):,} classes"
    num_photos, num_features = found.features.shape
    print(
        f"Wrote {escape(path)} ({path.stat().st_size / 1e6:,.1f} MB): {num_features:,} features of "
        f"{num_photos:,} photos, float32{labels}"
    )


def _write_npz(found: _Features, file: IO[bytes]) -> None:
    import numpy as np

    arrays: dict[str, Any] = {"features": found.features, "paths": np.array(found.paths, dtype=np.str_)}
    if found.labels is not None:
        arrays |= {"labels": found.labels, "class_names": np.array(found.class_names, dtype=np.str_)}
    np.savez(file, **arrays)


def _write_parquet(found: _Features, file: IO[bytes]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    # Names of files may hold bytes that are no UTF-8, as Parquet's text must be: those become escapes.
    columns = {"path": pa.array([path.encode("utf-8", "backslashreplace").decode() for path in found.paths])}
    if found.labels is not None:
        columns["label"] = pa.array([found.class_names[label] for label in found.labels])
    features = pa.array(found.features.ravel())
    columns["features"] = pa.FixedSizeListArray.from_arrays(features, found.features.shape[1])
    pq.write_table(pa.table(columns), file)


_WRITERS: "dict[str, Callable[[_Features, IO[bytes]], None]]" = {".npz": _write_npz, ".parquet": _write_parquet}


def _reading(path: Path) -> str:
    import shlex

    text = repr(str(path))
    if not set(text[1:-1]) & set("\"'\\"):
        text = f'"{text[1:-1]}"'  # reads better within the shell's own quotes
    if path.suffix.lower() == ".npz":
        code = f"import numpy; print(dict(numpy.load({text})))"
    else:
        code = f"import pyarrow.parquet; print(pyarrow.parquet.read_table({text}))"
    return shlex.join(["python", "-c", code])
