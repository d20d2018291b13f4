"""The index: what is written is read back, and no damaged index is used."""

import random
from pathlib import Path

import numpy as np
import pytest

from allmlp.data.sources.tar_shards.index import ShardIndex, make_index, open_index, write_index

COUNT = 50


@pytest.fixture
def index(tmp_path: Path) -> ShardIndex:
    columns = {
        "shard": [number % 2 for number in range(COUNT)],
        "offset": [512 + 10**10 * number for number in range(COUNT)],
        "size": list(range(COUNT)),
        "label": [number % 3 for number in range(COUNT)],
        "digest": bytes(range(COUNT)) * 32,
        "name": [f"{number}\udcff.jpg" for number in range(COUNT)],
        "sample_id": [f"ü/{number}.jpg" for number in range(COUNT)],
    }
    info = {"shards": [["a.tar", 1, 2], ["b.tar", 3, 4]], "class_names": ["x", "y", "ü"]}
    changes = {"info": {"splits": {"train": COUNT - 10}, "notes": ["ü"], "left_out": {}}}
    return write_index([tmp_path / "x.arrow"], make_index(columns, info), np.arange(COUNT - 10)[::-1], changes)


def test_it_is_read_back(index: ShardIndex, tmp_path: Path) -> None:
    assert index.path == tmp_path / "x.arrow"
    again = open_index(tmp_path / "x.arrow")
    assert again is not None
    assert again.shards == ("a.tar", "b.tar")
    assert again.offsets.tolist() == [512 + 10**10 * number for number in range(COUNT - 11, -1, -1)]
    assert again.name(0) == f"{COUNT - 11}\udcff.jpg"
    assert again.digest(0) == (bytes(range(COUNT)) * 32)[32 * (COUNT - 11) :][:32]
    assert again.sample_ids(1, 3) == (f"ü/{COUNT - 12}.jpg", f"ü/{COUNT - 13}.jpg")
    assert not again.offsets.flags.writeable


def test_no_damaged_index_is_used(index: ShardIndex, tmp_path: Path) -> None:
    path = tmp_path / "damaged.arrow"
    whole = (tmp_path / "x.arrow").read_bytes()
    draws = random.Random(0)
    for _ in range(1500):
        damaged = bytearray(whole)
        start = draws.randrange(len(whole))
        damaged[start : start + draws.choice((1, 4))] = draws.randbytes(1)
        path.write_bytes(damaged if draws.random() < 0.9 else damaged[:start])
        opened = open_index(path)
        assert opened is None or (opened.table.equals(index.table) and opened.info == index.info)


def test_a_bool_or_a_text_in_place_of_numbers_is_refused(tmp_path: Path) -> None:
    import pyarrow as pa

    for table in (pa.table({"shard": ["x"]}), pa.table({"a": [1]}).replace_schema_metadata({b"allmlp": b"[]"})):
        with pa.ipc.new_file(tmp_path / "other.arrow", table.schema) as writer:
            writer.write_table(table)
        assert open_index(tmp_path / "other.arrow") is None
    assert open_index(tmp_path) is None
