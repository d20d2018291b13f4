import dataclasses
import json
import os
import re
import shutil
import subprocess
import sys

import numpy as np
import pytest

from allmlp import Predictor, load_checkpoint, save_checkpoint
from allmlp.evaluation import split_of_run
from allmlp.metrics import wilson_interval

NAMES = ("yak", "cat", "zebra")  # some of the checkpoint's classes


@pytest.fixture
def flat(tmp_path, write_photo):
    """root/<class>/*.png: 5 photos of each of 3 classes."""
    for number, name in enumerate(NAMES):
        for index in range(5):
            write_photo(tmp_path / "flat" / name / f"{index}.png", seed=10 * number + index)
    return tmp_path / "flat"


@pytest.fixture
def divided(tmp_path, write_photo):
    """root/{train,val,test}/<class>/*.png: 4, 3 and 2 photos of each class."""
    for split, number in (("train", 4), ("val", 3), ("test", 2)):
        for name in NAMES:
            for index in range(number):
                write_photo(tmp_path / "divided" / split / name / f"{split}{index}.png", seed=len(name) + index)
    return tmp_path / "divided"


def evaluated(outcome):
    assert outcome.code == 0, outcome.err
    assert outcome.err == ""
    return json.loads(outcome.out)


def test_the_numbers_are_those_of_the_predictions(flat, saved_checkpoint, allmlp):
    paths = sorted(flat.rglob("*.png"))
    truths = [path.parent.name for path in paths]
    answers = Predictor.from_checkpoint(saved_checkpoint, device="cpu").predict(paths, top_k=6)
    labels = [[each["label"] for each in answer.labels] for answer in answers]
    scores = [{each["label"]: each["score"] for each in answer.labels} for answer in answers]
    right = np.array([names[0] == truth for names, truth in zip(labels, truths, strict=True)])

    found = evaluated(allmlp("evaluate", saved_checkpoint, flat, "--json"))
    assert found["num_examples"] == 15
    assert found["top1"] == pytest.approx(right.mean())
    assert found["top5"] == pytest.approx(
        np.mean([truth in names[:5] for names, truth in zip(labels, truths, strict=True)])
    )
    losses = [-np.log(score[truth]) for score, truth in zip(scores, truths, strict=True)]
    assert found["loss"] == pytest.approx(np.mean(losses), rel=1e-6)
    recalls = {name: right[[truth == name for truth in truths]].mean() for name in NAMES}
    assert found["balanced_accuracy"] == pytest.approx(np.mean(list(recalls.values())))
    for each in found["per_class"]:
        assert each["recall"] == pytest.approx(recalls.get(each["name"], 0.0))
        assert each["num_examples"] == (5 if each["name"] in NAMES else 0)
    low, high = wilson_interval(int(right.sum()), 15)
    shown = allmlp("evaluate", saved_checkpoint, flat).out
    assert f"top-1              {low:.0%} to {high:.0%} ({right.sum()} of 15; 95% interval)\n" in shown
    assert found["top1_interval"] == pytest.approx([low, high])


def test_the_output_is_the_same_to_the_last_digit_for_any_batch_size(flat, saved_checkpoint, allmlp):
    for options in ([], ["--json"]):
        outputs = {
            allmlp("evaluate", saved_checkpoint, flat, "--batch-size", size, *options).out for size in (1, 7, 64)
        }
        assert len(outputs) == 1


@pytest.mark.parametrize(("removed", "split", "number"), [([], "test", 6), (["test"], "validation", 9)])
def test_the_test_split_comes_first_then_validation(removed, split, number, divided, saved_checkpoint, allmlp):
    for name in removed:
        shutil.rmtree(divided / name)
    found = evaluated(allmlp("evaluate", saved_checkpoint, divided, "--json"))
    assert (found["split"], found["num_examples"]) == (split, number)
    assert f"{split}: {number} photos." in allmlp("evaluate", saved_checkpoint, divided).out


def test_a_split_can_be_chosen_and_an_absent_one_exits_2_with_those_there_are(divided, saved_checkpoint, allmlp):
    assert evaluated(allmlp("evaluate", saved_checkpoint, divided, "--json", "--split", "train"))["num_examples"] == 12
    outcome = allmlp("evaluate", saved_checkpoint, divided, "--split", "tset")
    assert outcome.code == 2
    assert all(name in outcome.err for name in ("train", "validation", "test"))


@pytest.mark.parametrize("name", ["val", "valid", "Validation"])
def test_a_split_is_known_by_all_names_that_data_sets_use(name, divided, saved_checkpoint, allmlp):
    found = evaluated(allmlp("evaluate", saved_checkpoint, divided, "--json", "--split", name))
    assert (found["split"], found["num_examples"]) == ("validation", 9)


def run_folder(flat, saved_checkpoint, tmp_path, split):
    run = tmp_path / "run"
    shutil.copytree(saved_checkpoint, run / "checkpoints" / "best")
    (run / "split.json").write_text(json.dumps(split))
    (run / "recipe.json").write_text("{}")
    return run


def sample_ids(flat):
    return sorted(str(path.relative_to(flat)) for path in flat.rglob("*.png"))


@pytest.mark.parametrize("inner", ["", "checkpoints", "checkpoints/best", "checkpoints/best/model.safetensors"])
def test_flat_data_of_the_run_is_divided_as_the_run_divided_it(inner, flat, saved_checkpoint, tmp_path, allmlp):
    photos = sample_ids(flat)
    run = run_folder(flat, saved_checkpoint, tmp_path, {"train": photos[2:], "validation": photos[:2]})
    found = evaluated(allmlp("evaluate", run / inner, flat, "--json"))
    assert (found["split"], found["num_examples"]) == ("validation", 2)
    assert "split.json" in found["remark"]
    assert sum(each["num_examples"] for each in found["per_class"] if each["name"] == "cat") == 2
    train = evaluated(allmlp("evaluate", run, flat, "--json", "--split", "train"))
    assert train["num_examples"] == 13


def test_other_photos_than_the_runs_are_all_scored_and_known_ones_counted(flat, saved_checkpoint, tmp_path, allmlp):
    photos = sample_ids(flat)
    run = run_folder(flat, saved_checkpoint, tmp_path, {"train": photos[5:], "validation": photos[:2]})
    found = evaluated(allmlp("evaluate", run, flat, "--json"))
    assert (found["split"], found["num_examples"]) == ("train", 15)
    assert "all photos" in found["remark"]
    assert "trained on 10 photos" in found["remark"]


def test_train_photos_are_not_taken_for_a_run_whose_other_split_has_photos_of_the_same_names(
    flat, saved_checkpoint, tmp_path, allmlp
):
    photos = sample_ids(flat)  # cameras number each folder anew: validation had some of the names that train has
    run = run_folder(flat, saved_checkpoint, tmp_path, {"train": photos, "validation": photos[:4]})
    found = evaluated(allmlp("evaluate", run, flat, "--json"))
    assert (found["split"], found["num_examples"]) == ("train", 15)
    assert "trained on 15 photos with the same names" in found["remark"]


@pytest.mark.parametrize("place", ["..", "../..", "../../.."])
def test_a_split_file_above_the_run_or_of_another_tool_is_not_the_runs(place, flat, saved_checkpoint, tmp_path, allmlp):
    checkpoint = tmp_path / "checkpoints" / "mine" / "checkpoints" / "best"
    shutil.copytree(saved_checkpoint, checkpoint)
    photos = sample_ids(flat)
    (checkpoint / place / "split.json").write_text(json.dumps({"train": photos[2:], "validation": photos[:2]}))
    if place != "../..":
        (checkpoint / place / "recipe.json").write_text("{}")
    found = evaluated(allmlp("evaluate", checkpoint, flat, "--json"))
    assert (found["split"], found["num_examples"]) == ("train", 15)


def test_a_run_called_starter_does_not_divide_for_the_weights_of_that_name(saved_checkpoint, tmp_path, monkeypatch):
    run = run_folder(None, saved_checkpoint, tmp_path, {"train": ["a"], "validation": ["b"]})
    run.rename(tmp_path / "starter")
    monkeypatch.chdir(tmp_path)
    assert split_of_run("starter") == {}
    assert split_of_run("./starter") == {"train": ["a"], "validation": ["b"]}


def test_a_damaged_split_file_exits_4(flat, saved_checkpoint, tmp_path, allmlp):
    run = run_folder(flat, saved_checkpoint, tmp_path, [1, 2])
    assert allmlp("evaluate", run, flat).code == 4


def test_classes_unknown_to_the_checkpoint_are_all_named(flat, saved_checkpoint, write_photo, allmlp):
    write_photo(flat / "gnu" / "1.png")
    write_photo(flat / "emu" / "1.png")
    outcome = allmlp("evaluate", saved_checkpoint, flat)
    assert outcome.code == 3
    assert "2 of 5 classes: emu, gnu." in outcome.err


def test_numbers_in_the_place_of_names_match_no_folders_but_all_of_them(
    saved_checkpoint, write_photo, tmp_path, allmlp
):
    numbers = [str(number) for number in range(12)]
    unnamed = load_checkpoint(saved_checkpoint).with_new_head(numbers)
    save_checkpoint(unnamed, tmp_path / "unnamed")
    for number in numbers[:10]:
        write_photo(tmp_path / "digits" / number / "1.png")
    outcome = allmlp("evaluate", tmp_path / "unnamed", tmp_path / "digits")
    assert outcome.code == 3
    assert "the checkpoint has no class names, only the numbers 0 to 11" in outcome.err
    for number in numbers[10:]:
        write_photo(tmp_path / "digits" / number / "1.png")
    found = evaluated(allmlp("evaluate", tmp_path / "unnamed", tmp_path / "digits", "--json"))
    assert found["top1"] == pytest.approx(1 / 12)  # all logits are 0: the first class


def test_a_checkpoint_without_a_classifier_is_refused_with_what_it_can_do(saved_checkpoint, flat, tmp_path, allmlp):
    checkpoint = load_checkpoint(saved_checkpoint)
    weights = {name: weight for name, weight in checkpoint.weights.items() if not name.startswith("head.")}
    config = dataclasses.replace(checkpoint.config, num_classes=0)
    save_checkpoint(
        dataclasses.replace(checkpoint, config=config, weights=weights, class_names=()), tmp_path / "headless"
    )
    outcome = allmlp("evaluate", tmp_path / "headless", flat)
    assert outcome.code == 2
    assert "This checkpoint has no classifier (num_classes is 0), so it cannot be scored. Use --shots" in outcome.err


def test_every_bad_photo_is_named_and_nothing_is_scored(flat, saved_checkpoint, allmlp):
    (flat / "cat" / "1.png").write_text("no photo")
    (flat / "yak" / "3.png").write_bytes(b"")
    outcome = allmlp("evaluate", saved_checkpoint, flat, "--json")
    assert (outcome.code, outcome.out) == (3, "")
    assert str(flat / "cat" / "1.png") in outcome.err
    assert str(flat / "yak" / "3.png") in outcome.err


@pytest.mark.parametrize("options", [[], ["--json"]])
def test_a_top1_below_the_minimum_exits_6_after_the_numbers(options, flat, saved_checkpoint, allmlp):
    top1 = evaluated(allmlp("evaluate", saved_checkpoint, flat, "--json"))["top1"]
    assert top1 < 1
    fails = allmlp("evaluate", saved_checkpoint, flat, "--min-top1", "1.0", *options)
    assert fails.code == 6
    assert fails.out
    assert "--min-top1 1.0" in fails.err
    assert allmlp("evaluate", saved_checkpoint, flat, "--min-top1", top1, *options).code == 0


@pytest.mark.parametrize(
    "options", [["--min-top1", "90"], ["--batch-size", "0"], ["--batch-size", "1025"]], ids=" ".join
)
def test_impossible_options_exit_2_before_any_file_is_read(options, allmlp):
    outcome = allmlp("evaluate", "no checkpoint", "no data", *options)
    assert outcome.code == 2
    assert options[0] in outcome.err


def test_no_checkpoint_exits_4_and_no_data_3(saved_checkpoint, flat, tmp_path, allmlp):
    assert allmlp("evaluate", tmp_path / "none", flat).code == 4
    assert allmlp("evaluate", saved_checkpoint, tmp_path / "none").code == 3


def test_the_table_shows_every_class_that_has_photos(flat, saved_checkpoint, allmlp):
    shown = allmlp("evaluate", saved_checkpoint, flat).out
    assert {line.split()[0] for line in shown.partition("precision\n")[2].partition("\n\n")[0].splitlines()} == set(
        NAMES
    )
    assert "15 photos. These are all photos of the data set." in shown and "train:" not in shown


@pytest.mark.skipif(os.name != "posix", reason="a pseudo-terminal")
def test_the_bar_is_on_a_terminal_only(flat, saved_checkpoint):
    command = [
        sys.executable,
        "-m",
        "allmlp",
        "evaluate",
        saved_checkpoint,
        flat,
        "--batch-size",
        "2",
        "--format",
        "json",
    ]
    leader, follower = os.openpty()
    outcome = subprocess.run(command, stdout=subprocess.PIPE, stderr=follower, check=True, timeout=300)
    os.close(follower)
    shown = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", os.read(leader, 100_000).decode())
    os.close(leader)
    assert "2/15 photos" in shown
    assert json.loads(outcome.stdout)["num_examples"] == 15
