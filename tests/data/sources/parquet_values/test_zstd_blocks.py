"""Stored blocks of zstd frames: every part that is read directly is what zstd itself unpacks."""

import numpy as np
import pyarrow as pa
import pytest

from allmlp.data.sources.parquet_values.zstd_blocks import zstd_blocks


def part(packed: bytes, content: bytes, start: int, num_bytes: int) -> bytes:
    blocks = zstd_blocks(packed, len(content))
    assert blocks is not None
    return b"".join(packed[offset : offset + length] for offset, length in blocks.ranges(start, num_bytes))


@pytest.mark.parametrize("num_bytes", [1, 1000, 131_072, 131_073, 700_001])
def test_any_part_of_incompressible_data_is_read_directly(num_bytes: int) -> None:
    generator = np.random.default_rng(num_bytes)
    content = generator.bytes(num_bytes)
    packed = pa.compress(content, codec="zstd", asbytes=True)
    assert part(packed, content, 0, num_bytes) == content
    for _ in range(50):
        start = int(generator.integers(0, num_bytes))
        length = int(generator.integers(1, num_bytes - start + 1))
        assert part(packed, content, start, length) == content[start : start + length]


@pytest.mark.parametrize(
    "content", [b"a" * 10_000, b"abc" * 100_000, bytes(500_000) + np.random.default_rng(0).bytes(300_000)]
)
def test_data_that_compress_are_left_to_zstd(content: bytes) -> None:
    assert zstd_blocks(pa.compress(content, codec="zstd", asbytes=True), len(content)) is None


def test_damaged_frames_are_left_to_zstd_which_refuses_them() -> None:
    content = np.random.default_rng(0).bytes(300_000)
    packed = pa.compress(content, codec="zstd", asbytes=True)
    assert zstd_blocks(packed, len(content) - 1) is None
    for damaged in (b"", packed[:5], packed[:1000], packed[:-1], packed + b"x", b"\0" + packed[1:]):
        assert zstd_blocks(damaged, len(content)) is None
    endless = packed[:4] + b"\x00\x58" + b"\x00\x00\x00" * 100_000  # empty blocks without a last one
    assert zstd_blocks(endless, len(content)) is None
