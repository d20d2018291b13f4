"""A file of features: NumPy's .npz or Parquet."""

from collections.abc import Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, NamedTuple

from allmlp.cli.arguments.output_path import new_output_path
from allmlp.cli.console import say
from allmlp.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    from numpy.typing import NDArray

__all__ = ["Features", "features_path", "read_command", "write_features"]


class Features(NamedTuple):
    """Features (n, C) of photos, the paths of the photos, and their labels (n,) and class names if they are labelled."""

    features: "NDArray[np.float32]"
    paths: Sequence[str]
    labels: "NDArray[np.int64] | None" = None
    class_names: tuple[str, ...] = ()


def features_path(out: str | None) -> Path | None:
    """Return the file that `--out` names; None without it.

    Raises:
        ConfigError: the file exists or cannot be written, or its ending is unknown.
    """
    if out is None:
        return None
    path = new_output_path(out, is_folder=False, name="--out", example="features.npz")
    if path.suffix.lower() not in _WRITERS:
        raise ConfigError(f"--out {out}: expected a name that ends in {' or '.join(_WRITERS)}.")
    return path


def write_features(content: Features, path: Path) -> None:
    """Write a new file, complete or not at all, and report it.

    Raises:
        ConfigError: it cannot be written.
    """
    from allmlp.io.atomic_write import write_together
    from allmlp.io.display import escape, file_size

    write = _WRITERS[path.suffix.lower()]
    write_together({path: lambda file: write(content, file)})
    labels = "" if content.labels is None else f" and labels of {len(content.class_names):,} classes"
    num_photos, num_features = content.features.shape
    say(
        f"Wrote {escape(path)} ({file_size(path.stat().st_size)}): {num_features:,} features of "
        f"{num_photos:,} photos, float32{labels}"
    )


def _write_npz(content: Features, file: IO[bytes]) -> None:
    import numpy as np

    arrays: dict[str, Any] = {"features": content.features, "paths": np.array(content.paths, dtype=np.str_)}
    if content.labels is not None:
        arrays |= {"labels": content.labels, "class_names": np.array(content.class_names, dtype=np.str_)}
    np.savez(file, **arrays)


def _write_parquet(content: Features, file: IO[bytes]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    from allmlp.io.display import utf8

    columns = {"path": pa.array([utf8(path) for path in content.paths])}
    if content.labels is not None:
        columns["label"] = pa.array([content.class_names[label] for label in content.labels])
    features = pa.array(content.features.ravel())
    columns["features"] = pa.FixedSizeListArray.from_arrays(features, content.features.shape[1])
    pq.write_table(pa.table(columns), file)


_WRITERS: "dict[str, Callable[[Features, IO[bytes]], None]]" = {".npz": _write_npz, ".parquet": _write_parquet}


def read_command(path: Path) -> str:
    """Return a command that prints the content of a file of features."""
    import shlex

    text = repr(str(path))
    if not set(text[1:-1]) & set("\"'\\"):
        text = f'"{text[1:-1]}"'  # more readable within the shell's single quotes
    if path.suffix.lower() == ".npz":
        code = f"import numpy; print(dict(numpy.load({text})))"
    else:
        code = f"import pyarrow.parquet; print(pyarrow.parquet.read_table({text}))"
    return shlex.join(["python", "-c", code])
