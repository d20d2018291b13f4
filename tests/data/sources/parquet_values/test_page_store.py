"""Unpacked pages beyond the memory that is kept for them: unpacked twice at most, read exactly, also without a disk."""

import random
import resource
import tempfile
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from allmlp.data.sources.parquet_values import contents
from allmlp.data.sources.parquet_values.footer import read_footer
from allmlp.data.sources.parquet_values.page_store import PageStore
from allmlp.data.sources.parquet_values.pages import Chunk
from allmlp.data.sources.parquet_values.values import locate

PAGES = [np.random.default_rng(number).bytes(10_000) for number in range(20)]


def num_unpacked(store: PageStore, *, reads: int = 2000) -> Counter[int]:
    """Read parts of pages in random order, compare them, and count how often each page was unpacked."""
    counts: Counter[int] = Counter()
    generator = random.Random(0)

    def unpack(number: int) -> bytes:
        counts[number] += 1
        return PAGES[number]

    for _ in range(reads):
        number, start = generator.randrange(len(PAGES)), generator.randrange(10_000)
        part = store.read(number, 10_000, lambda number=number: unpack(number), start, 500)
        assert part == PAGES[number][start : start + 500]
    return counts


def test_pages_are_unpacked_twice_at_most() -> None:
    assert max(num_unpacked(PageStore(30_000)).values()) == 2
    assert max(num_unpacked(PageStore(200_000)).values()) == 1


def test_without_a_temporary_file_pages_are_unpacked_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "missing"))
    assert min(num_unpacked(PageStore(30_000)).values()) > 50


def test_a_full_disk_leaves_the_pages_that_were_written() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (55_000, hard))  # five pages and a half
    try:
        counts = num_unpacked(PageStore(30_000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert sorted(counts.values())[:5] == [2] * 5 and sorted(counts.values())[5] > 50


@pytest.mark.parametrize("codec", ["gzip", "brotli", "lz4"])
@pytest.mark.parametrize("encoding", ["PLAIN", "DELTA_BYTE_ARRAY"])
def test_shuffled_photos_of_compressed_pages_are_exact_from_memory_and_from_the_file(
    codec: str, encoding: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(contents, "_pages", PageStore(20_000))
    generator = np.random.default_rng(0)
    photos = [generator.bytes(int(generator.integers(1, 3_000))) for _ in range(100)]
    path = tmp_path / "x.parquet"
    options = {"row_group_size": 10, "compression": codec, "use_dictionary": False, "store_schema": False}
    pq.write_table(pa.table({"image": pa.array(photos)}), path, column_encoding={"image": encoding}, **options)
    chunks = read_footer(path).chunks(["image"])
    with path.open("rb") as file:
        values = [locate(file, chunk, (path,)) for chunk in chunks]
        for row in random.Random(0).choices(range(100), k=400):
            assert values[row // 10].read(file, row % 10) == photos[row]


def test_each_page_is_looked_up_in_the_dictionary_before_it(tmp_path: Path) -> None:
    pieces, groups, level = [], ([b"a", b"bb", b"a"], [b"ccc", b"a", b"ccc", b"dd"]), 0
    for number, group in enumerate(groups):
        path = tmp_path / f"{number}.parquet"
        pq.write_table(pa.table({"image": pa.array(group)}), path, compression="gzip")
        (chunk,) = read_footer(path).chunks(["image"])
        level = chunk.max_level
        pieces.append(path.read_bytes()[chunk.offset : chunk.offset + chunk.packed_bytes])
    joined = tmp_path / "joined"
    joined.write_bytes(b"PAR1" + b"".join(pieces))
    chunk = Chunk(4, sum(map(len, pieces)), 7, "gzip", level)
    with joined.open("rb") as file:
        values = locate(file, chunk, (joined,))
        assert [values.read(file, row) for row in range(7)] == [*groups[0], *groups[1]]
