"""Commands on tar shards at an address: what they answer is what they answer for the folder."""

import csv
import shutil
from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from tests.servers.files import FileServer

from allmlp.data import open_dataset, write_shards
from allmlp.data.sources.tar_shards import remote_shards


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ALLMLP_HOME", str(tmp_path / "cache"))
    remote_shards._opened.cache_clear()
    return tmp_path / "cache"


@pytest.fixture
def shards(tmp_path: Path, write_photo) -> Path:
    for split, first in (("train", 0), ("test", 30)):
        for number in range(12):
            name = ("cat", "owl")[number % 2]
            write_photo(tmp_path / "photos" / split / name / f"{number:02}.png", first + number)
    write_shards(open_dataset(tmp_path / "photos"), tmp_path / "shards", shard_bytes=20_000)
    assert len(list((tmp_path / "shards").glob("train-*.tar"))) > 1
    return tmp_path / "shards"


@pytest.fixture
def server(shards: Path) -> Iterator[FileServer]:
    with FileServer(files={f"flowers/{path.name}": path.read_bytes() for path in shards.iterdir()}) as server:
        yield server


def rows(path: Path) -> list[list[str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.reader(file))


def test_predict_and_embed_answer_as_for_the_folder(allmlp, shards, server, saved_checkpoint, tmp_path):
    address = f"{server.url}/flowers/"
    for source, name in ((shards, "local"), (address, "remote")):
        assert allmlp("predict", saved_checkpoint, source, "-o", tmp_path / f"{name}.csv").code == 0
    local, remote = rows(tmp_path / "local.csv"), rows(tmp_path / "remote.csv")
    assert len(remote) == 25
    assert [[row[0].replace(f"{address[:-1]}", str(shards)), *row[1:]] for row in remote] == local
    assert allmlp("embed", saved_checkpoint, address, "-o", tmp_path / "features.npz").code == 0


def test_bulk_predictions_go_on_from_the_address(allmlp, shards, server, saved_checkpoint, tmp_path, cache):
    address = f"{server.url}/flowers/"
    options = ("--part-size", "5")
    for source, name in ((shards, "local"), (address, "remote")):
        assert allmlp("predict", saved_checkpoint, source, "-o", f"{tmp_path / name}/", *options).code == 0
    tables = [pq.read_table(sorted((tmp_path / name).glob("part-*.parquet"))) for name in ("local", "remote")]
    assert tables[0].drop_columns("path") == tables[1].drop_columns("path")
    names = [name.replace(address[:-1], str(shards)) for name in tables[1]["path"].to_pylist()]
    assert names == tables[0]["path"].to_pylist()

    parts = sorted((tmp_path / "remote").glob("part-*.parquet"))
    before = pq.read_table(parts[2])
    parts[2].unlink()
    shutil.rmtree(cache)  # it is only a cache
    outcome = allmlp("predict", saved_checkpoint, address, "-o", f"{tmp_path / 'remote'}/", *options)
    assert outcome.code == 0
    assert "4 of 5 parts are done already" in outcome.err
    assert pq.read_table(parts[2]) == before


def test_bulk_predictions_refuse_shards_that_have_changed(
    allmlp, shards, server, saved_checkpoint, tmp_path, write_photo
):
    address = f"{server.url}/flowers/"
    out = f"{tmp_path / 'out'}/"
    assert allmlp("predict", saved_checkpoint, address, "-o", out, "--part-size", "5").code == 0
    next((tmp_path / "out").glob("part-*.parquet")).unlink()
    for path in (tmp_path / "photos").rglob("*.png"):
        write_photo(path, 99 + int(path.stem))
    write_shards(open_dataset(tmp_path / "photos"), tmp_path / "new", shard_bytes=20_000)
    server.files = {f"flowers/{path.name}": path.read_bytes() for path in (tmp_path / "new").iterdir()}
    remote_shards._opened.cache_clear()  # as in a new process
    outcome = allmlp("predict", saved_checkpoint, address, "-o", out, "--part-size", "5")
    assert outcome.code == 3
    assert "this file is missing or has changed since the plan was made" in outcome.err


def test_check_evaluate_and_shard_take_an_address(allmlp, shards, server, saved_checkpoint, tmp_path):
    address = f"{server.url}/flowers/"
    outcome = allmlp("check", address)
    assert f"{address}: 2 classes; train 12, test 12 photos" in outcome.out
    assert "shards are downloaded to" in outcome.out
    local, remote = (
        allmlp("evaluate", saved_checkpoint, source, "--format", "json", "--split", "test")
        for source in (shards, address)
    )
    assert remote.code == 0
    assert remote.out.replace(address, str(shards)) == local.out
    assert allmlp("shard", address, tmp_path / "again", "--shard-mb", "1").code == 0


def test_a_fault_is_one_message(allmlp, server, saved_checkpoint):
    server.files.pop("flowers/test-000000.tar")
    for arguments in (("check",), ("predict", saved_checkpoint), ("evaluate", saved_checkpoint), ("train",)):
        outcome = allmlp(*arguments, f"{server.url}/flowers/")
        assert outcome.code == 3
        assert "test-000000.tar: this shard is missing there, or may not be read" in outcome.err
        assert "Traceback" not in outcome.err


def test_a_photo_at_an_address_is_not_read(allmlp, saved_checkpoint):
    outcome = allmlp("predict", saved_checkpoint, "https://example.com/photo.jpg")
    assert outcome.code == 3
    assert "Addresses are not read; download it first" in outcome.err
