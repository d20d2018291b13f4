"""`allmlp shard`: what it writes and says, and what it refuses."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.data.photo_sources import SPLIT, write_folder

from allmlp.data import open_dataset


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    return write_folder(tmp_path / "photos", SPLIT)


def test_it_writes_shards_and_says_what_to_run_next(allmlp, photos, tmp_path):
    before = {path: path.read_bytes() for path in photos.rglob("*") if path.is_file()}
    outcome = allmlp("shard", photos, tmp_path / "new" / "shards")
    assert outcome.code == 0
    lines = [line.split() for line in outcome.out.splitlines()]
    assert ["train", "13", "photos", "train-000000.tar"] in lines
    assert f"wrote   {tmp_path / 'new' / 'shards'} (3 shards, 39 photos, " in outcome.out
    assert f"allmlp train {tmp_path / 'new' / 'shards'}" in outcome.out
    assert len(open_dataset(tmp_path / "new" / "shards").splits) == 3
    assert {path: path.read_bytes() for path in photos.rglob("*") if path.is_file()} == before


def test_the_size_of_a_shard_is_given_in_megabytes(allmlp, tmp_path):
    photos = write_folder(tmp_path / "photos", {f"{c}/{i}.jpg": bytes(300_000) for c in ("a", "b") for i in range(5)})
    outcome = allmlp("shard", photos, tmp_path / "shards", "--shard-mb", 1)
    assert "train-000000.tar to train-000003.tar" in outcome.out
    assert all(path.stat().st_size <= 1_000_000 for path in (tmp_path / "shards").glob("*.tar"))
    assert allmlp("shard", photos, tmp_path / "more", "--shard-mb", 0).code == 2


def test_a_folder_that_is_not_empty_is_refused(allmlp, photos):
    outcome = allmlp("shard", "clothing", photos)
    assert outcome.code == 2
    assert f"{photos}: this folder is not empty, and nothing is overwritten. Choose a new name" in outcome.err


def test_what_an_interrupted_command_left_is_named(allmlp, photos, tmp_path):
    (tmp_path / ".shards.0a1b2c3d.part").mkdir()
    outcome = allmlp("shard", photos, tmp_path / "shards")
    assert outcome.code == 0
    assert f"{tmp_path / '.shards.0a1b2c3d.part'} is left over from an interrupted command; delete it" in outcome.err


def test_photos_that_cannot_be_opened_are_refused(allmlp, tmp_path):
    outcome = allmlp("shard", tmp_path / "nothing", tmp_path / "shards")
    assert outcome.code == 3
    assert "there is no such file or folder" in outcome.err
    assert not (tmp_path / "shards").exists()


def test_check_reads_the_shards(allmlp, tmp_path, monkeypatch):
    monkeypatch.setenv("ALLMLP_HOME", str(tmp_path / "cache"))
    assert allmlp("shard", "clothing", tmp_path / "shards").code == 0
    outcomes = [
        json.loads(allmlp("check", source, "--format", "json").out) for source in ("clothing", tmp_path / "shards")
    ]
    assert [outcome["num_photos"] for outcome in outcomes] == [{"train": 1000, "test": 372}] * 2
    assert outcomes[0]["findings"] == outcomes[1]["findings"]


def test_predict_and_embed_answer_for_the_photos_in_shards(allmlp, tmp_path):
    photos = tmp_path / "photos"
    for split, count in (("train", 1), ("test", 2)):
        for number in range(count):
            path = photos / split / "red" / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (20, 20), (200, 40 * number, 0)).save(path)
    assert allmlp("shard", photos, tmp_path / "shards").code == 0
    of_files = allmlp("predict", "starter", photos / "test", "--format", "csv").out.splitlines()
    sources = ("", "test-000000.tar")
    answers = {
        source: allmlp("predict", "starter", tmp_path / "shards" / source, "--format", "csv") for source in sources
    }
    rows = answers["test-000000.tar"].out.splitlines()
    assert rows[1].startswith(f"{tmp_path / 'shards' / 'test-000000.tar'}/00000000")
    assert sorted(row.partition(",")[2] for row in rows) == sorted(row.partition(",")[2] for row in of_files)
    assert len(answers[""].out.splitlines()) == 1 + 3
    refused = allmlp("predict", "starter", tmp_path / "shards", "--sort-into", tmp_path / "sorted")
    assert refused.code == 2
    assert "--sort-into copies files, and some of these photos are in a tar file. Unpack it first." in refused.err
    assert allmlp("embed", "starter", tmp_path / "shards", "-o", tmp_path / "features.npz").code == 0
    assert len(np.load(tmp_path / "features.npz")["paths"]) == 3


def test_predict_and_embed_name_a_shard_that_is_missing_or_has_changed(allmlp, tmp_path):
    photos = {f"train/{name}/{number}.jpg": bytes(7000) for name in ("a", "b") for number in range(100)}
    assert allmlp("shard", write_folder(tmp_path / "photos", photos), tmp_path / "shards", "--shard-mb", 1).code == 0
    shard = tmp_path / "shards" / "train-000001.tar"
    content = shard.read_bytes()

    def answers(out: str) -> list:
        outs = (
            ("predict", f"{out}.csv"),
            ("embed", f"{out}.npz"),
            ("predict", f"{out}-scores/"),
            ("embed", f"{out}-features/"),
        )
        return [allmlp(command, "starter", tmp_path / "shards", "-o", f"{tmp_path}/{name}") for command, name in outs]

    shard.write_bytes(content[:600] + b"x" + content[601:])
    for outcome in answers("changed"):
        assert outcome.code == 3
        assert "train-000001.tar: its SHA-256 is not the one in shards.json" in outcome.err
    shard.unlink()
    for outcome in answers("missing"):
        assert outcome.code == 3
        assert "1 shard missing that shards.json lists: train-000001.tar" in outcome.err
    assert not [*tmp_path.glob("*.csv"), *tmp_path.glob("*.npz"), *tmp_path.glob("*/part-*")]
