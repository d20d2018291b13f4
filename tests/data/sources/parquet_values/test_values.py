"""Values of Parquet columns: the same as pyarrow reads, for every compression, encoding and page version it writes."""

import itertools
import random
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from allmlp.data.sources.parquet_values.column import read_column
from allmlp.data.sources.parquet_values.footer import read_footer
from allmlp.data.sources.parquet_values.reader import ParquetReader
from allmlp.errors import DataError

BYTES_ENCODINGS = ("dictionary", "PLAIN", "DELTA_LENGTH_BYTE_ARRAY", "DELTA_BYTE_ARRAY")
INTEGER_ENCODINGS = ("dictionary", "PLAIN", "DELTA_BINARY_PACKED", "BYTE_STREAM_SPLIT")
CODECS = ("none", "snappy", "gzip", "brotli", "zstd", "lz4")


def photos(generator: np.random.Generator, count: int, *, largest: int) -> list[bytes | None]:
    values: list[bytes | None] = [generator.bytes(int(generator.integers(0, largest))) for _ in range(count)]
    values[count // 2] = None
    values[-1] = values[0]  # a repeated photo is one entry of a dictionary
    values[1] = bytes(5_000)  # compressible
    return values


def reader_of(path: Path, column: list[str]) -> ParquetReader:
    footer = read_footer(path)
    chunks = footer.chunks(column)
    sizes = np.array([chunk.num_values for chunk in chunks])
    rows = np.arange(sizes.sum())
    files = np.zeros(len(chunks), dtype=np.int64)
    return ParquetReader((path,), (footer.state,), chunks, files, np.cumsum(sizes), rows, (None,) * len(rows))


def shuffled(reader: ParquetReader) -> list[bytes | None]:
    """Read in random order, as training does; None for a row without a photo."""
    found: dict[int, bytes | None] = {}
    for row in random.Random(0).sample(range(len(reader.rows)), len(reader.rows)):
        try:
            found[row] = reader.read(row)
        except DataError as error:
            assert "has no image bytes" in str(error)
            found[row] = None
    return [found[row] for row in sorted(found)]


@pytest.mark.parametrize("version", ["1.0", "2.0"])
@pytest.mark.parametrize(("encoding", "codec"), [*itertools.product(BYTES_ENCODINGS, CODECS)])
def test_photos_are_those_that_pyarrow_reads(encoding: str, codec: str, version: str, tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    values = photos(generator, 70, largest=40_000 if codec == "snappy" else 2_000)
    structs = pa.StructArray.from_arrays([pa.array(values, pa.binary())], ["bytes"])
    table = pa.table({"other.bytes": pa.array(range(70)), "image": structs, "flat": pa.array(values, pa.binary())})
    path = tmp_path / "x.parquet"
    options = {"row_group_size": 25, "data_page_version": version, "compression": codec, "data_page_size": 100_000}
    if encoding == "dictionary":
        pq.write_table(table, path, write_batch_size=10, **options)
    else:
        encodings = {"image.bytes": encoding, "flat": encoding}
        pq.write_table(table, path, use_dictionary=False, column_encoding=encodings, write_batch_size=10, **options)
    expected = pq.read_table(path)
    assert expected.column("flat").to_pylist() == values
    for column in (["image", "bytes"], ["flat"]):
        assert shuffled(reader_of(path, column)) == values


KINDS = (pa.int8(), pa.uint8(), pa.int32(), pa.uint32(), pa.int64(), pa.uint64(), pa.string(), pa.large_binary())


@pytest.mark.parametrize("version", ["1.0", "2.0"])
@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_labels_are_those_that_pyarrow_reads(kind: pa.DataType, version: str, tmp_path: Path) -> None:
    is_integer = pa.types.is_integer(kind)
    if is_integer:
        limits = np.iinfo(kind.to_pandas_dtype())
        numbers = [limits.min, limits.max, 0, 1, None, 3] + [7] * 500 + [i % 100 for i in range(2_000)]
        labels = pa.array(numbers * 2, kind)
    else:
        labels = pa.array(["a", None, "", "Ä" * 40, "ab", *["same"] * 500] * 3, pa.string()).cast(kind)
    required = pa.schema([pa.field("label", kind, nullable=False)])
    for encoding in INTEGER_ENCODINGS if is_integer else BYTES_ENCODINGS:
        for table in (pa.table({"label": labels}), pa.Table.from_arrays([labels.drop_null()], schema=required)):
            path = tmp_path / "x.parquet"
            options = {"row_group_size": 999, "data_page_version": version}
            if encoding == "dictionary":
                pq.write_table(table, path, **options)
            else:
                pq.write_table(table, path, use_dictionary=False, column_encoding={"label": encoding}, **options)
            expected = table.column("label").to_pylist()
            expected = [value.decode() if isinstance(value, bytes) else value for value in expected]
            assert read_column(path, read_footer(path), ["label"]) == expected, encoding
