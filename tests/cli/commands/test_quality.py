"""`finetune --quality`: what it stands for, what it costs, and the line that names the better one."""

import json
import re

import pytest

from allmlp.checkpoints import CATALOG
from allmlp.cli.quality import quality_settings
from allmlp.data import open_dataset
from allmlp.model import num_parameters
from allmlp.recipes import load_recipe
from allmlp.training import estimate_minutes, with_settings

SIZE = f"{4 * num_parameters(CATALOG['b16-i21k'].config) / 1e6:.0f} MB"  # float32
ESTIMATE = r"about (\d+ minutes?|\d+\.\d hours) here"


@pytest.fixture
def photos(tmp_path, monkeypatch, write_photo):
    """A folder "photos" in the current folder, an empty cache, and no network."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ALLMLP_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("ALLMLP_OFFLINE", "1")
    for number, name in enumerate(("cat", "dog", "owl")):
        for index in range(5):
            write_photo(tmp_path / "photos" / name / f"{index}.png", seed=10 * number + index)
    return tmp_path / "photos"


def test_a_quality_stands_for_a_checkpoint_and_what_is_trained():
    none = {"checkpoint": None, "trained_blocks": None}
    assert quality_settings("fast", **none, keys=()) == {"transfer.checkpoint": "starter"}
    balanced = quality_settings("balanced", **none, keys=())
    assert balanced == {"transfer.checkpoint": "b16-i21k", "transfer.trained_blocks": 0}
    assert "accumulation" in quality_settings("best", **none, keys=())
    assert "accumulation" not in quality_settings("best", **none, keys=["batch_size=7"])
    assert quality_settings(None, checkpoint="mine", trained_blocks=2, keys=()) == {
        "transfer.checkpoint": "mine",
        "transfer.trained_blocks": 2,
    }


@pytest.mark.parametrize("option", [("--from", "starter"), ("--trained-blocks", "1")])
def test_a_quality_next_to_what_it_stands_for_is_refused(option, photos, allmlp):
    outcome = allmlp("finetune", "photos", "--quality", "fast", *option)
    assert outcome.code == 2
    assert f"quality fast and {' '.join(option)}: a quality decides what a run starts from" in outcome.err


@pytest.mark.parametrize("quality", ["balanced", "best"])
def test_the_cost_is_printed_before_the_download(quality, photos, allmlp, tmp_path):
    outcome = allmlp("finetune", "photos", "--quality", quality)
    assert re.search(f"^quality {quality}: {SIZE} to download, {ESTIMATE}$", outcome.out, re.MULTILINE)
    assert outcome.code == 4 and "b16-i21k: " in outcome.err and "forbids downloads" in outcome.err
    cached = tmp_path / "cache" / "mixer_models" / "imagenet21k" / "Mixer-B_16.npz"
    cached.parent.mkdir(parents=True)
    cached.write_bytes(b"weights")
    assert f"quality {quality}: 0 MB to download, about " in allmlp("finetune", "photos", "--quality", quality).out


def test_a_run_from_the_starter_names_the_better_quality(photos, allmlp):
    outcome = allmlp(
        "finetune", "photos", "--quality", "fast", "--balance", "--epochs", "1", "--folds", "0", "--out", "mine"
    )
    assert outcome.code == 0, outcome.err
    assert re.search(f"^quality fast: 0 MB to download, {ESTIMATE}$", outcome.out, re.MULTILINE)
    line = rf"^for better: .*allmlp finetune photos --quality balanced: {SIZE} to download, {ESTIMATE}$"
    assert len(re.findall(line, outcome.out, re.MULTILINE)) == 1
    recipe = json.loads((photos.parent / "mine" / "recipe.json").read_text())
    assert (recipe["transfer"]["checkpoint"], recipe["sampler"]) == ("starter", "balanced")
    again = ("finetune", "photos", "--from", "mine", "--trained-blocks", "0", "--epochs", "1", "--out", "again")
    outcome = allmlp(*again)
    assert outcome.code == 0, outcome.err
    assert "for better" not in outcome.out and "over the photos are computed once" in outcome.out


def test_a_sweep_from_the_starter_names_the_better_quality(photos, allmlp):
    outcome = allmlp("finetune", "photos", "--lr-grid", "0.001", "--epochs", "1", "--out", "sweep")
    assert outcome.code == 0, outcome.err
    line = rf"^for better: .*allmlp finetune photos --quality balanced: {SIZE} to download, {ESTIMATE}$"
    assert len(re.findall(line, outcome.out, re.MULTILINE)) == 1


def test_the_folds_of_a_classifier_cost_little_more_than_their_run(photos):
    """They have its features, and only predict their photos."""
    dataset, model = open_dataset(photos), CATALOG["b16-i21k"].config.with_num_classes(3)
    recipe = with_settings(load_recipe("finetune"), ["num_epochs=1000", "transfer.trained_blocks=0"])
    once, folds = (
        estimate_minutes(with_settings(recipe, [f"data.folds={number}"]), model, dataset, device="cpu")
        for number in (0, 5)
    )
    assert folds < 2.5 * once  # 10 passes over all photos instead of 8, but for the noise of a busy machine


def test_an_estimate_follows_the_work(photos):
    dataset = open_dataset(photos)
    model = CATALOG["b16-i21k"].config.with_num_classes(3)
    recipe = load_recipe("finetune")
    few, many, head, short = (
        estimate_minutes(with_settings(recipe, settings), model, dataset, device="cpu")
        for settings in (
            ["num_epochs=10"],
            ["num_epochs=1000"],
            ["num_epochs=1000", "transfer.trained_blocks=0"],
            ["num_epochs=1000", "max_minutes=0.5"],
        )
    )
    assert 20 < many / few < 500  # 100, but for the noise of a busy machine
    assert 0 < head < many / 50  # 8 forward passes instead of 1,000 forward and backward
    assert short == 0.5
