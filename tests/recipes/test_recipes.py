"""Every recipe of the table starts; the one that is chosen fits the photos."""

import dataclasses
import io

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from allmlp import Recipe, train
from allmlp.data import open_dataset
from allmlp.errors import ConfigError, DataError
from allmlp.recipes import RECIPES, load_recipe, recipe_for


def photos(path, count, side):
    """Write `count` photos of two classes, each `side` pixels high; only their sizes matter."""
    buffer = io.BytesIO()
    Image.fromarray(np.full((side, side + 5, 3), 99, dtype=np.uint8)).save(buffer, "PNG")
    images = [{"bytes": buffer.getvalue(), "path": f"{index}.png"} for index in range(count)]
    pq.write_table(pa.table({"image": images, "label": [index % 2 for index in range(count)]}), path)
    return path


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_trains_two_steps_and_says_what_it_claims(name, tmp_path):
    recipe = dataclasses.replace(load_recipe(name), num_epochs=1, batch_size=10, max_minutes=None)
    assert recipe.name == name
    result = train(recipe, photos(tmp_path / "train.parquet", 22, 40), tmp_path / "run")
    assert result.evaluations["validation"].num_examples == 2
    for part in ("Command:", "Expected:", "Cost:", "Source:"):
        assert part in RECIPES[name].__doc__


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
        "recipes_of_mine:wrong": "gave a int; expected an allmlp.Recipe",
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
