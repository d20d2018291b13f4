"""Which columns of a Parquet file hold the photos and the labels, and what they hold."""

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from allmlp.errors import DataError
from allmlp.io.display import summarise

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["features_of", "image_and_label", "values_of"]


def features_of(metadata: Mapping[bytes, bytes] | None) -> dict[str, dict[str, Any]]:
    """Return Hugging Face's description of the columns; {} where there is none or it cannot be understood."""
    try:
        features = json.loads((metadata or {})[b"huggingface"])["info"]["features"]
        return {name: feature for name, feature in features.items() if isinstance(feature, dict)}
    except (KeyError, TypeError, ValueError, AttributeError):
        return {}


def image_and_label(schema: "pa.Schema", features: Mapping[str, Mapping[str, Any]]) -> tuple[str, str]:
    """Return the names of the image and label columns: as the convention says, or the only ones declared as such.

    Raises:
        DataError: they are not there, come twice, or hold something else; without the file's path and a full stop.
    """
    import pyarrow as pa

    found = []
    for name, kind in (("image", "Image"), ("label", "ClassLabel")):
        declared = [column for column in schema.names if features.get(column, {}).get("_type") == kind]
        if name in schema.names:
            found.append(name)
        elif len(declared) == 1:
            found.append(declared[0])
        else:
            raise DataError(
                f"there is no column {name!r} (columns: {summarise(schema.names)}); "
                "expected image (bytes, path) and label, as Hugging Face writes them; rename the columns"
            )
    if repeated := [name for name in found if schema.names.count(name) > 1]:
        raise DataError(f"column {repeated[0]!r} comes twice; keep one")
    image, label = (schema.field(name).type for name in found)
    parts = [(part.name, part.type) for part in image] if pa.types.is_struct(image) else [("bytes", image)]
    kinds = dict(parts)
    if len(kinds) < len(parts) or not _is_bytes(kinds.get("bytes")) or not _is_text(kinds.get("path", pa.string())):
        raise DataError(f"column {found[0]!r} is {image}; expected struct<bytes: binary, path: string>")
    if not (pa.types.is_integer(_decoded(label)) or _is_text(label)):
        raise DataError(f"column {found[1]!r} is {label}; expected whole numbers or class names")
    return found[0], found[1]


def values_of(column: "pa.ChunkedArray") -> list[Any]:
    """Return a column's numbers or texts. Bytes that are no UTF-8 are kept as Python keeps them in files' names."""
    import pyarrow as pa

    kind = _decoded(column.type)
    if pa.types.is_integer(kind):
        return list(column.to_pylist())
    is_large = pa.types.is_large_string(kind) or pa.types.is_large_binary(kind)
    encoded = column.cast(kind).cast(pa.large_binary() if is_large else pa.binary()).to_pylist()
    return [None if text is None else text.decode("utf-8", "surrogateescape") for text in encoded]


def _is_bytes(kind: "pa.DataType | None") -> bool:
    import pyarrow as pa

    return kind is not None and (pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


def _is_text(kind: "pa.DataType") -> bool:
    """Return whether values are text, or bytes, as some writers store it, or all empty."""
    import pyarrow as pa

    kind = _decoded(kind)
    return pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_null(kind) or _is_bytes(kind)


def _decoded(kind: "pa.DataType") -> "pa.DataType":
    """Return the type of the values: of categories (a dictionary), that which they name."""
    import pyarrow as pa

    return kind.value_type if pa.types.is_dictionary(kind) else kind
