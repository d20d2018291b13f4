"""Every recipe of the table starts; the one that is chosen fits the photos."""

import dataclasses
import io
import math

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

from allmlp import Recipe, train
from allmlp.config import override
from allmlp.data import hold_out, open_dataset
from allmlp.errors import ConfigError, DataError
from allmlp.recipes import RECIPES, load_recipe, recipe_for
from allmlp.training import NoProgress
from allmlp.training.distributed.process_group import ONE_PROCESS
from allmlp.training.input_pipeline import InputPipeline
from allmlp.training.recipe.resolve import resolve
from allmlp.training.step.schedule import learning_rate_factor
from allmlp.training.step.state import TrainState
from allmlp.training.step.update import update


def photos(path, count, side):
    """Write `count` different photos of two classes, each `side` pixels high; only their sizes matter."""
    buffer = io.BytesIO()
    Image.fromarray(np.full((side, side + 5, 3), 99, dtype=np.uint8)).save(buffer, "PNG")
    images = [{"bytes": buffer.getvalue() + b"%d" % index, "path": f"{index}.png"} for index in range(count)]
    pq.write_table(pa.table({"image": images, "label": [index % 2 for index in range(count)]}), path)
    return path


def two_steps(recipe):
    """The recipe for two steps of ten photos, with its Mixer's image and patch size but few and narrow blocks."""
    narrow = ("num_blocks=2", "hidden_dim=32", "tokens_mlp_dim=16", "channels_mlp_dim=48")
    settings = [f"model.{setting}" for setting in narrow] if recipe.model.hidden_dim > 256 else []
    if recipe.transfer.checkpoint not in (None, "starter"):
        settings.append("transfer.checkpoint=none")  # what would be downloaded
    if recipe.schedule.warmup_steps is not None:
        settings.append("schedule.warmup_steps=1")
    return override(recipe, [*settings, "num_epochs=0", "num_steps=2", "batch_size=10", "max_minutes=none"])


# Those of the paper whose settings differ from another recipe's in little but the size of the Mixer or of the data set.
ALIKE = ("finetune_paper_squash", "imagenet_l16", "imagenet21k_b16", "imagenet21k_l16", "jft_b16", "jft_l16", "jft_h14")


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_says_what_it_claims(name):
    for part in ("Command:", "Expected:", "Cost:", "Source:"):
        assert part in RECIPES[name].__doc__


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow if name in ALIKE else ()) for name in RECIPES]
)
def test_every_recipe_takes_two_steps(name, tmp_path):
    recipe = two_steps(load_recipe(name))
    assert recipe.name == name
    data = open_dataset(photos(tmp_path / "train.parquet", 22, 40))
    dataset = hold_out(data, fraction=recipe.data.holdout, seed=recipe.seed)
    recipe = resolve(recipe, dataset, "cpu")
    feed, state = InputPipeline(recipe, dataset, ranks=ONE_PROCESS, progress=NoProgress()), TrainState(recipe)
    before = {key: value.clone() for key, value in state.model.state_dict().items()}
    num_steps = recipe.num_steps_on(len(dataset.splits["train"]))
    for step, batch in enumerate(feed.batches(first_step=0, num_steps=num_steps)):
        factor = learning_rate_factor(recipe.schedule, step=step, num_steps=num_steps)
        assert math.isfinite(update(state, state.model, batch, recipe, factor))
    after = state.model.state_dict()
    assert state.step == 2
    # The classifier starts at zero, so what lies below it learns from the second step on.
    assert not [key for key, value in before.items() if torch.equal(value, after[key])]


@pytest.mark.parametrize("name", ["imagenet_b16", "finetune_cifar"])
def test_a_recipe_of_the_paper_makes_a_whole_run(name, tmp_path):
    result = train(two_steps(load_recipe(name)), photos(tmp_path / "train.parquet", 22, 40), tmp_path / "run")
    assert result.evaluations["validation"].num_examples == 2


@pytest.mark.parametrize(
    ("side", "count", "name"),
    [(32, 60, "cifar10"), (64, 60, "photos64"), (200, 60, "photos64"), (200, 2100, "photos128")],
)
def test_the_recipe_follows_the_size_and_the_number_of_photos(side, count, name, tmp_path):
    dataset = open_dataset(photos(tmp_path / "train.parquet", count, side))
    recipe, reason = recipe_for(dataset)
    assert recipe.name == name
    assert recipe.max_minutes is None
    assert 80_000 - count <= recipe.num_epochs * count <= 2_000_000 + count
    assert f"{count:,} training photos" in reason


def test_data_without_training_photos_is_refused(tmp_path):
    with pytest.raises(DataError, match="there is no train split; found test"):
        recipe_for(open_dataset(photos(tmp_path / "test.parquet", 20, 32)))


def test_a_recipe_of_ones_own_is_loaded_by_module_and_name(tmp_path, monkeypatch):
    (tmp_path / "recipes_of_mine.py").write_text(
        "import dataclasses\nfrom allmlp.recipes import load_recipe\n"
        "def mine():\n    return dataclasses.replace(load_recipe('demo'), name='mine')\n"
        "def wrong():\n    return 3\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    assert load_recipe("recipes_of_mine:mine").name == "mine"
    for name, message in {
        "recipes_of_mine:wrong": "returned a value of type int; expected an allmlp.Recipe",
        "recipes_of_mine:missing": "has no attribute 'missing'",
        "no_such_module:mine": "No module named 'no_such_module'",
        "dmeo": "Did you mean 'demo'",
    }.items():
        with pytest.raises(ConfigError, match=message):
            load_recipe(name)


def test_a_recipe_written_in_python_is_checked_like_one_from_a_file(tmp_path):
    recipe = dataclasses.replace(load_recipe("demo"), precision="fp16")
    assert isinstance(recipe, Recipe)
    with pytest.raises(ConfigError, match="precision: 'fp16' is not one of auto, float32, bfloat16"):
        train(recipe, photos(tmp_path / "train.parquet", 22, 40), tmp_path / "run")


@pytest.mark.parametrize(
    ("key", "text", "value"),
    [
        ("trained_blocks", "0", 0),
        ("trained_blocks", "2", 2),
        ("layer_decay", "1", 1.0),
        ("image_size", "[96,64]", (96, 64)),
    ],
)
def test_fine_tuning_takes_every_setting_of_what_is_transferred(key, text, value):
    before = RECIPES["finetune"]().transfer
    changed = override(RECIPES["finetune"](), [f"transfer.{key}={text}"]).transfer
    assert changed == dataclasses.replace(before, **{key: value}) != before
