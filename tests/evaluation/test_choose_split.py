"""Which photos are scored, and how they are divided."""

import json
import shutil

import pytest

from allmlp import open_dataset
from allmlp.errors import CheckpointError, ConfigError
from allmlp.evaluation import choose_split, divide_as_run, split_of_run


def test_the_runs_split_is_found_from_any_path_in_it(run):
    expected = json.loads((run / "split.json").read_text())
    for inner in ("", "checkpoints", "checkpoints/best", "checkpoints/best/model.safetensors"):
        assert split_of_run(run / inner) == expected
    assert split_of_run("starter") == split_of_run("b16-i1k") == split_of_run("hf:owner/name") == {}
    (run / "split.json").write_text("[1]")
    with pytest.raises(CheckpointError, match=r"split\.json"):
        split_of_run(run)


def test_test_comes_first_then_validation_then_train(photos):
    for gone, name in (("none", "test"), ("test", "validation"), ("val", "train")):
        shutil.rmtree(photos / gone, ignore_errors=True)
        if gone == "test":
            shutil.copytree(photos / "train", photos / "val")
        assert choose_split(open_dataset(photos), {}, None).name == name
    with pytest.raises(ConfigError, match=r"--split test: .* It has: train"):
        choose_split(open_dataset(photos), {}, "test")


def test_train_photos_are_divided_only_where_they_are_the_runs(run, photos):
    saved = split_of_run(run)
    splits, is_divided = divide_as_run(open_dataset(photos / "train"), saved)
    assert is_divided
    assert {name: list(split.sample_ids) for name, split in splits.items()} == dict(saved)
    next((photos / "train" / "cat").iterdir()).unlink()
    splits, is_divided = divide_as_run(open_dataset(photos / "train"), saved)
    assert (list(splits), is_divided) == (["train"], False)
