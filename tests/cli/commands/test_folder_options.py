"""--classes-from and --split-folders, in every command that opens labelled photos, and in a run that is resumed."""

import html
import json
import shlex
import shutil
import sys
from pathlib import Path

import pytest
from tests.builders import tiny_checkpoint
from tests.cli.commands.test_train import MODULE

from allmlp import save_checkpoint


@pytest.fixture
def place(tmp_path, write_photo, monkeypatch):
    """photos/{valid,invalid}/{may,june}/*.png, which may be splits or classes, a run's recipe, and a checkpoint in trained/."""
    for number, name in enumerate(("valid/may", "valid/june", "invalid/may", "invalid/june")):
        for index in range(4):
            write_photo(tmp_path / "photos" / name / f"{number}-{index}.png", seed=10 * number + index)
    (tmp_path / "my_recipes.py").write_text(MODULE)
    names = ("invalid", "june", "may", "valid")
    save_checkpoint(tiny_checkpoint(seed=1, num_classes=4, class_names=names), tmp_path / "trained")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.path", list(sys.path))
    monkeypatch.delitem(sys.modules, "my_recipes", raising=False)
    return tmp_path


TRAIN = ("train", "photos", "--recipe", "my_recipes:tiny", "--epochs", 1, "--out", "run")
SPLITS = "train=invalid,validation=valid"


@pytest.mark.parametrize(
    "command", [TRAIN, ("finetune", "photos"), ("evaluate", "trained", "photos")], ids=lambda c: c[0]
)
def test_a_question_exits_3_with_options_that_are_accepted(command, place, allmlp):
    outcome = allmlp(*command)
    assert outcome.code == 3
    assert "the folders invalid/, valid/ can be read in two ways:" in outcome.err
    assert "Choose this with --classes-from ." in outcome.err
    assert "Choose this with --split-folders validation=valid" in outcome.err


@pytest.mark.parametrize(
    ("options", "classes"),
    [(("--classes-from", "."), ["invalid", "valid"]), (("--split-folders", SPLITS), ["june", "may"])],
)
def test_a_run_keeps_how_its_photos_were_read(options, classes, place, allmlp):
    outcome = allmlp(*TRAIN, *options)
    assert outcome.code == 0, outcome.err
    assert Path("run/class_names.txt").read_text().split() == classes
    command = shlex.join(["evaluate", "run", "photos", *options])
    assert command in outcome.out
    absolute = shlex.join(["evaluate", str(Path("run").absolute()), str(Path("photos").absolute()), *options])
    assert absolute in html.unescape(Path("run/report.html").read_text())  # the page may be opened from anywhere
    assert allmlp(*shlex.split(command)).code == 0
    Path("run/metrics.json").unlink()
    assert allmlp("train", "--resume", "run").code == 0
    again = allmlp("train", "photos", "--resume", "run")
    assert "there is nothing left to train" in again.out
    assert command.split(" photos ")[1] in again.out


def test_a_damaged_record_of_the_options_is_refused(place, allmlp):
    assert allmlp(*TRAIN, "--classes-from", ".").code == 0
    for options in ({"classes_from": 3}, {"split_folders": {"train": 1}}, {"other": "x"}):
        Path("run/data.json").write_text(json.dumps({"source": "photos", **options}))
        outcome = allmlp("train", "--resume", "run")
        assert outcome.code == 2
        assert "with classes_from or split_folders at most" in outcome.err


def test_finetune_evaluate_and_embed_read_folders_as_given(place, allmlp):
    recipe = ("--from", "trained", "--set", "data.holdout=0.25", "--epochs", 1, "--print-recipe")
    for options in (("--classes-from", "."), ("--split-folders", "train=invalid")):
        assert allmlp("finetune", "photos", *recipe, *options).code == 0
    scores = allmlp("evaluate", "trained", "photos", "--classes-from", ".", "--json")
    assert [row["num_examples"] for row in json.loads(scores.out)["per_class"]] == [8, 0, 0, 8]
    scores = allmlp("evaluate", "trained", "photos", "--split-folders", "test=invalid", "--json")
    assert [row["num_examples"] for row in json.loads(scores.out)["per_class"]] == [0, 4, 4, 0]
    few = ("evaluate", "trained", "photos", "--split-folders", "train=invalid,test=valid", "--shots", 1, "--draws", 1)
    assert allmlp(*few).code == 0
    embedded = allmlp("embed", "trained", "photos", "--split", "train", "--classes-from", ".", "-o", "x.npz")
    assert "16 photos, float32 and labels of 2 classes" in embedded.out


@pytest.mark.parametrize("text", ["train", "train=", "=a", "train=a,train=b", "train=a;test=b,", ""])
def test_split_folders_of_another_form_exit_2(text, place, allmlp):
    outcome = allmlp(*TRAIN, "--split-folders", text)
    assert outcome.code == 2
    assert "expected each split once with its folder, such as train=Training,test=Testing" in outcome.err


def test_the_options_need_a_data_set(place, allmlp):
    outcome = allmlp("embed", "trained", "photos", "--classes-from", ".", "-o", "x.npz")
    assert (outcome.code, Path("x.npz").exists()) == (2, False)
    assert "add --split, or omit them" in outcome.err


def test_one_class_is_scored_but_not_trained_on(place, allmlp):
    shutil.rmtree("photos/valid")
    shutil.rmtree("photos/invalid/june")
    scores = allmlp("evaluate", "trained", "photos", "--json")
    assert json.loads(scores.out)["num_examples"] == 4
    Path("photos/invalid/may/readme.txt").write_text("x")
    for command in (TRAIN, ("train", "photos"), ("finetune", "photos")):
        outcome = allmlp(*command)
        assert outcome.code == 3
        assert "only one class has photos, 'may'; a classifier needs at least two classes" in outcome.err
        assert "note: 1 other file ignored (readme.txt)" in outcome.err


def test_an_unlabelled_test_split_is_named_where_it_is_asked_for(place, allmlp):
    shutil.move("photos/invalid", "photos/train")
    shutil.move("photos/valid/may", "photos/test")
    shutil.rmtree("photos/valid")
    outcome = allmlp("evaluate", "trained", "photos", "--split", "test")
    assert outcome.code == 2
    reason = "test/ has no class folders, so its photos have no labels"
    assert f"--split test: photos has no such split with labels: {reason}. It has: train." in outcome.err
    assert f"left out: {reason}" in allmlp("evaluate", "trained", "photos").out


def test_commands_with_names_that_hold_line_breaks_are_one_line(place, allmlp):
    Path("photos").rename("my\nphotos")
    outcome = allmlp("train", "my\nphotos", *TRAIN[2:], "--classes-from", ".")
    assert outcome.code == 0, outcome.err
    assert "my\nphotos" not in outcome.out + outcome.err
    assert "evaluate run $'my\\x0aphotos' --classes-from ." in outcome.out
