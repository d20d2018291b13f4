"""Small Parquet files that claim or unpack to gigabytes: refused with the reason, in little memory."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

MEGABYTE = 10**6

# The child opens every file and reads its first photo, and reports each refusal and the memory that it took at most.
READ_ALL = """
import json, sys
from pathlib import Path
from allmlp.data import open_dataset
from allmlp.errors import DataError
refusals = {}
for path in sys.argv[1:]:
    try:
        open_dataset(path).splits["train"].read(0)
    except DataError as error:
        refusals[path] = str(error)
peak = Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0]
print(json.dumps([refusals, int(peak)]))
"""


def dictionary(value: bytes | str, count: int) -> pa.DictionaryArray:
    """Return a value `count` times, which is written as one run of a few bytes."""
    return pa.DictionaryArray.from_arrays(pa.array(np.zeros(count, dtype=np.int32)), pa.array([value]))


def write(path: Path, images: pa.Array, labels: pa.Array, **options: object) -> None:
    pq.write_table(pa.table({"image": images, "label": labels}), path, store_schema=False, **options)


def numbers(count: int) -> pa.Array:
    return pa.array(np.arange(count) % 2)


def compressed(codec: str) -> Callable[[Path], None]:
    photos = pa.array([bytes(40 * MEGABYTE), b"x"])
    return lambda path: write(path, photos, numbers(2), compression=codec, use_dictionary=False)


def varint(value: int) -> bytes:
    encoded = bytearray()
    while value >= 0x80:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*encoded, value])


def overlapping(path: Path) -> None:
    """Write two row groups, and let the second have the pages of the first, as often as one likes."""
    generator = np.random.default_rng(0)
    images = pa.array([generator.bytes(10_000) for _ in range(4)])
    write(path, images, numbers(4), row_group_size=2, compression="none", use_dictionary=False)
    data = path.read_bytes()
    first, second = (pq.read_metadata(path).row_group(group).column(0) for group in range(2))
    end = int.from_bytes(data[-8:-4], "little") + 8
    footer = data[-end:]
    size = varint(2 * second.total_compressed_size)
    assert footer.count(size) >= 2
    claim = varint(2 * (len(data) - first.data_page_offset - 1_000))
    assert len(claim) == len(size)
    path.write_bytes(data[:-end] + footer.replace(size, claim))


CASES: dict[str, tuple[Callable[[Path], None], str]] = {
    "zstd": (compressed("zstd"), "would unpack to 40,000,0"),
    "gzip": (compressed("gzip"), "would unpack to 40,000,0"),
    "brotli": (compressed("brotli"), "would unpack to 40,000,0"),
    "lz4": (compressed("lz4"), "would unpack to 40,000,0"),
    "one photo, many rows": (
        lambda path: write(path, dictionary(bytes(MEGABYTE), 9_000), numbers(9_000), compression="zstd"),
        "a row group has photos of 9,000,000,000 bytes",
    ),
    "rows": (
        lambda path: write(path, dictionary(b"x", 3 * MEGABYTE), numbers(3 * MEGABYTE), compression="zstd"),
        "it claims 3,000,000 rows",
    ),
    "a long label": (
        lambda path: write(path, pa.array([b"x"] * 5_000), dictionary("a" * MEGABYTE, 5_000), compression="zstd"),
        "a path or class name of 1,000,000 bytes; the limit is 4,096",
    ),
    "labels that share bytes": (
        lambda path: write(
            path,
            pa.array([b"x"] * 1_400),
            pa.array(["a" * 100_000] * 1_400),
            use_dictionary=False,
            column_encoding={"label": "DELTA_BYTE_ARRAY"},
        ),
        "a page has values of 140,000,000 bytes",
    ),
    "photos that share bytes": (
        lambda path: write(
            path,
            pa.array([bytes(100_000)] * 1_400),
            numbers(1_400),
            use_dictionary=False,
            column_encoding={"image": "DELTA_BYTE_ARRAY"},
        ),
        "a page has values of 140,000,000 bytes",
    ),
    "overlap": (overlapping, "overlap"),
}


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="measures memory with /proc")
def test_small_files_that_would_take_gigabytes_are_refused_in_little_memory(tmp_path: Path) -> None:
    paths = {}
    for name, (make, _) in CASES.items():
        paths[name] = tmp_path / f"{name}.parquet"
        make(paths[name])
    command = [sys.executable, "-c", READ_ALL, *map(str, paths.values())]
    output = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout
    refusals, kilobytes = json.loads(output)
    for name, (_, reason) in CASES.items():
        assert reason in refusals.get(str(paths[name]), ""), name
        assert "not a complete Parquet file" not in refusals[str(paths[name])] or name == "overlap"
    assert kilobytes < 400_000
