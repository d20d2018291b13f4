"""`allmlp evaluate --shots`: a linear classifier on frozen features, of classes that need not be the checkpoint's."""

import json
import shutil

import numpy as np
import pytest
from PIL import Image

from allmlp import Embedder
from allmlp.data import open_dataset
from allmlp.metrics import FewShotOptions, LabelledFeatures, few_shot

NAMES = ("blue", "green", "red")  # none of the checkpoint's


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Photos whose class is their colour, much noise: 8 of each class in train, 5 in test."""
    root = tmp_path_factory.mktemp("colours")
    generator = np.random.default_rng(0)
    for split, number in (("train", 8), ("test", 5)):
        for label, name in enumerate(NAMES):
            (root / split / name).mkdir(parents=True)
            for index in range(number):
                pixels = generator.integers(0, 256, (20, 24, 3))
                pixels[..., 2 - label] = (pixels[..., 2 - label] + 255) // 2
                Image.fromarray(pixels.astype(np.uint8)).save(root / split / name / f"{index}.png")
    return root


def test_the_table_is_what_few_shot_finds(data, saved_checkpoint, allmlp):
    dataset = open_dataset(data)
    train, test = dataset.splits["train"], dataset.splits["test"]
    embedder = Embedder.from_checkpoint(saved_checkpoint, device="cpu")
    expected = few_shot(
        # Of all photos, where the command looks at those that are drawn.
        LabelledFeatures(embedder.embed_split(train), train.labels, train.sample_ids),
        LabelledFeatures(embedder.embed_split(test), test.labels),
        dataset.class_names,
        FewShotOptions(shots=(1, 4), num_draws=2, seed=5),
    )
    options = ("--shots", "4,1,4", "--draws", 2, "--seed", 5)
    outcome = allmlp("evaluate", saved_checkpoint, f"{data}/", *options, "--json")
    assert (outcome.code, outcome.err) == (0, "")
    found = json.loads(outcome.out)
    assert found["few_shot"] == json.loads(json.dumps([each.to_dict() for each in expected]))
    assert (found["data"], found["split"], found["num_examples"], found["seed"]) == (f"{data}/", "test", 15, 5)
    assert expected[1].mean > 0.5  # colours can be told apart
    shown = allmlp("evaluate", saved_checkpoint, f"{data}/", *options).out
    assert f"embed {saved_checkpoint} {data}/ --split train -o train.npz" in shown  # as it was typed
    lines = [line.split() for line in shown.partition("regularisation chosen\n")[2].splitlines()[:2]]
    assert [line[0] for line in lines] == ["1", "4"]
    assert [line[1] for line in lines] == [f"{each.mean:.2%}" for each in expected]
    assert [line[2] for line in lines] == [f"{100 * each.spread:.2f}" for each in expected]
    assert [line[3] for line in lines] == [f"{each.chosen_mean:.2%}" for each in expected]
    assert lines[0][4:] == ["2^10,", "2^10"]


def test_many_draws_leave_the_table_narrow(data, saved_checkpoint, allmlp):
    outcome = allmlp("evaluate", saved_checkpoint, data, "--shots", "1,4", "--draws", 30)
    assert outcome.code == 0
    assert max(map(len, outcome.out.partition("regularisation chosen\n")[2].splitlines()[:2])) < 60


def test_one_draw_has_no_spread(data, saved_checkpoint, allmlp):
    shown = allmlp("evaluate", saved_checkpoint, data, "--shots", "2", "--draws", 1).out
    assert shown.partition("regularisation chosen\n")[2].split()[2] == "–"
    assert "1 draw." in shown


def test_classes_with_too_few_photos_are_named(data, saved_checkpoint, allmlp):
    outcome = allmlp("evaluate", saved_checkpoint, data, "--shots", "1,9")
    assert outcome.code == 3
    assert "blue (8), green (8), red (8)" in outcome.err


def test_a_bad_photo_is_named_only_where_it_is_looked_at(data, saved_checkpoint, tmp_path, allmlp):
    shutil.copytree(data, tmp_path / "data")
    (tmp_path / "data" / "test" / "red" / "1.png").write_text("text")
    outcome = allmlp("evaluate", saved_checkpoint, tmp_path / "data", "--shots", "2")
    assert outcome.code == 3
    assert str(tmp_path / "data" / "test" / "red" / "1.png") in outcome.err


@pytest.mark.parametrize(("gone", "words"), [("test", "needs a test or validation split"), ("train", "from a train")])
def test_both_a_train_split_and_one_to_score_are_needed(gone, words, data, saved_checkpoint, tmp_path, allmlp):
    shutil.copytree(data, tmp_path / "data")
    shutil.rmtree(tmp_path / "data" / gone)
    outcome = allmlp("evaluate", saved_checkpoint, tmp_path / "data", "--shots", "2")
    assert outcome.code == 3
    assert words in outcome.err


def test_validation_is_scored_where_there_is_no_test_or_it_is_asked_for(data, saved_checkpoint, tmp_path, allmlp):
    shutil.copytree(data, tmp_path / "data")
    (tmp_path / "data" / "test").rename(tmp_path / "data" / "val")
    found = json.loads(allmlp("evaluate", saved_checkpoint, tmp_path / "data", "--shots", "2", "--json").out)
    assert found["split"] == "validation"
    shutil.copytree(data / "test", tmp_path / "data" / "test")
    again = allmlp("evaluate", saved_checkpoint, tmp_path / "data", "--shots", "2", "--split", "val", "--json")
    assert json.loads(again.out) == found
    assert allmlp("evaluate", saved_checkpoint, tmp_path / "data", "--shots", "2", "--split", "train").code == 2
    assert allmlp("evaluate", saved_checkpoint, data, "--shots", "2", "--split", "val").code == 2


def test_photos_that_the_model_was_trained_on_are_counted(data, saved_checkpoint, tmp_path, allmlp):
    run = tmp_path / "run"
    shutil.copytree(saved_checkpoint, run / "checkpoints" / "best")
    train = open_dataset(data).splits["train"].sample_ids
    (run / "split.json").write_text(json.dumps({"train": train[4:], "validation": train[:4]}))
    (run / "recipe.json").write_text("{}")
    words = "The model was trained on 20 photos with the same names"
    outcome = allmlp("evaluate", run, data, "--shots", "2")
    assert (outcome.code, outcome.err) == (0, "")
    assert words in outcome.out
    found = json.loads(allmlp("evaluate", run, data, "--shots", "2", "--json").out)
    assert (
        found["remark"]
        == "Split as in the run's split.json. "
        + words
        + " as train photos: if they are the same photos, its features fit them too well to choose the regularisation on them."
    )
    # A flat folder is divided as the run divided it, and its validation photos are scored.
    flat = allmlp("evaluate", run, data / "train", "--shots", "2", "--json")
    assert json.loads(flat.out)["num_examples"] == 4
    assert json.loads(flat.out)["split"] == "validation"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--draws", "2"], "--draws without --shots"),
        (["--draws", "2", "--seed", "1"], "--draws and --seed without --shots"),
        (["--shots", "5", "--min-top1", "0.5"], "--min-top1 cannot be combined with --shots"),
        (["--shots", "5,x,0"], "'x', '0' is not a number"),
        (["--shots", ""], "'' is not a number"),
        (["--shots", "5", "--draws", "0"], "--draws"),
    ],
    ids=str,
)
def test_impossible_options_exit_2_before_any_file_is_read(options, words, allmlp):
    outcome = allmlp("evaluate", "no checkpoint", "no data", *options)
    assert outcome.code == 2
    assert words in outcome.err
