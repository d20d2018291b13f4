"""Which photos are scored, and how they are divided."""

import json
import shutil

import pytest

from allmlp import open_dataset
from allmlp.errors import CheckpointError, ConfigError, DataError
from allmlp.evaluation import choose_split, divide_as_run, split_of_run
from allmlp.evaluation.choose_split import choose_few_shot_splits


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


@pytest.mark.parametrize("wanted", ["test", "val"])
def test_a_split_that_was_left_out_says_why(photos, wanted):
    shutil.rmtree(photos / "test")
    (photos / wanted).mkdir()
    shutil.copy(next(photos.rglob("*.png")), photos / wanted)
    reason = f"{wanted}/ has no class folders, so its photos have no labels"
    with pytest.raises(ConfigError, match=rf"has no such split with labels: {reason}\. It has: train\."):
        choose_split(open_dataset(photos), {}, wanted)


def test_a_name_with_a_line_break_is_escaped(photos):
    moved = photos.rename(photos.parent / "my\nphotos")
    with pytest.raises(ConfigError, match=r"my\\nphotos has no such split"):
        choose_split(open_dataset(moved), {}, "validation")


def test_few_shot_needs_two_classes(photos):
    for name in ("cat", "owl"):
        shutil.rmtree(photos / "train" / name)
        shutil.rmtree(photos / "test" / name)
    with pytest.raises(DataError, match="train has photos of only one class; --shots needs at least two"):
        choose_few_shot_splits(open_dataset(photos), {}, None)
