"""Columns of a Parquet file that hold the photos and the labels: their names, types and values."""

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from allmlp.errors import DataError
from allmlp.io.display import quote, summarise

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["NoLabelsError", "class_names_of", "features_of", "image_and_label", "image_column"]


class NoLabelsError(DataError):
    """A Parquet file with photos, but without a column of labels."""


def features_of(metadata: Mapping[bytes, bytes] | None) -> dict[str, dict[str, Any]]:
    """Return Hugging Face's description of the columns; {} if it is missing or malformed."""
    try:
        features = json.loads((metadata or {})[b"huggingface"])["info"]["features"]
        return {name: feature for name, feature in features.items() if isinstance(feature, dict)}
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError):
        return {}


def image_and_label(schema: "pa.Schema", features: Mapping[str, Mapping[str, Any]]) -> tuple[str, str]:
    """Return the names of the image and label columns: the conventional ones, or else the only ones declared as such.

    Raises:
        NoLabelsError: only the column of the labels is missing.
        DataError: a column is missing, duplicated or of another type; the message has neither the path nor a full stop.
    """
    import pyarrow as pa

    image = _column(schema, features, "image", "Image", DataError)
    name = _column(schema, features, "label", "ClassLabel", NoLabelsError)
    image_column(schema, features)
    label = schema.field(name).type
    if not (pa.types.is_integer(_value_type(label)) or _is_text(label)):
        raise DataError(f"column {name!r} has type {label}; expected integers or class names")
    return image, name


def image_column(schema: "pa.Schema", features: Mapping[str, Mapping[str, Any]]) -> str:
    """Return the name of the image column, as `image_and_label` does; there need not be labels.

    Raises:
        DataError: the column is missing, duplicated or of another type; the message has neither the path nor a full stop.
    """
    import pyarrow as pa

    name = _column(schema, features, "image", "Image", DataError)
    image = schema.field(name).type
    parts = [(part.name, part.type) for part in image] if pa.types.is_struct(image) else [("bytes", image)]
    kinds = dict(parts)
    if len(kinds) < len(parts) or not _is_bytes(kinds.get("bytes")) or not _is_text(kinds.get("path", pa.string())):
        raise DataError(f"column {name!r} has type {image}; expected struct<bytes: binary, path: string>")
    return name


def _column(
    schema: "pa.Schema", features: Mapping[str, Mapping[str, Any]], name: str, kind: str, missing: type[DataError]
) -> str:
    declared = [column for column in schema.names if features.get(column, {}).get("_type") == kind]
    found = name if name in schema.names else declared[0] if len(declared) == 1 else None
    if found is None:
        raise missing(
            f"there is no column {name!r} (columns: {summarise(schema.names)}); "
            "expected image (bytes, path) and label, as Hugging Face writes them; rename the columns"
        )
    if schema.names.count(found) > 1:
        raise DataError(f"column {found!r} occurs twice; keep one")
    return found


def class_names_of(column: str, feature: Mapping[str, Any]) -> tuple[str, ...] | None:
    """Return the class names that Hugging Face's description of the label column declares; None if there are none.

    Raises:
        DataError: they are not texts; the message has neither the path nor a full stop.
    """
    names = feature.get("names")
    if not names:
        return None
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise DataError(f"the class names of column {column!r} are not a list of texts: {quote(names)}; correct them")
    return tuple(names)


def _is_bytes(kind: "pa.DataType | None") -> bool:
    import pyarrow as pa

    return kind in (pa.binary(), pa.large_binary(), pa.binary_view())


def _is_text(kind: "pa.DataType") -> bool:
    """Return whether the values are strings, bytes (which some writers use for strings) or all null."""
    import pyarrow as pa

    kind = _value_type(kind)
    return kind in (pa.string(), pa.large_string(), pa.string_view(), pa.null()) or _is_bytes(kind)


def _value_type(kind: "pa.DataType") -> "pa.DataType":
    """Return the type of the values; of a dictionary-encoded column, that of the dictionary's values."""
    import pyarrow as pa

    return kind.value_type if pa.types.is_dictionary(kind) else kind
