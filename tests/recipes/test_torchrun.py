"""The recipes of full scale start under torchrun on tar shards, as on a cluster: the command of the docs, two steps.

Overridden are only the widths of the Mixer and its number of blocks, the batch size, and the length of training and warm-up.
Photos are scaled to the recipe's 224 pixels and augmented as it says.
"""

import csv
import json
import math
from pathlib import Path
from typing import Any

import pytest
from tests.builders import tiny_checkpoint
from tests.forks import run_allmlp, run_torchrun
from tests.training.small_runs import write_photos

from allmlp.checkpoints import save_checkpoint
from allmlp.config import to_dict
from allmlp.recipes import RECIPES, load_recipe

PRETRAINING = [name for name in RECIPES if name.startswith(("imagenet", "jft", "big_vision"))]
FINE_TUNING = [name for name in RECIPES if name.startswith("finetune")]
FAST = ("jft_s16", "finetune_paper")  # the others take as long, all together minutes
WIDTHS = {"num_blocks": 2, "hidden_dim": 32, "tokens_mlp_dim": 16, "channels_mlp_dim": 48}
LENGTH = {"num_epochs": 0, "num_steps": 2, "batch_size": 8}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with shards, and the checkpoint from which the paper's fine-tuning starts: narrow, of B/16's image and patch."""
    place = tmp_path_factory.mktemp("full scale")
    write_photos(place / "photos", per_class=8)
    done = run_allmlp("shard", "photos", "shards", cwd=place)
    assert done.returncode == 0, done.stderr
    assert (place / "shards" / "train-000000.tar").is_file()
    save_checkpoint(tiny_checkpoint(image_size=(224, 224), patch_size=16), place / "pretrained")
    return place


def start(place: Path, command: str, name: str, settings: dict[str, Any], *options: str) -> None:
    """Run a command in two processes on the shards, the run folder being the recipe's name."""
    words = [word for key, value in settings.items() for word in ("--set", f"{key}={value}")]
    arguments = ["-m", "allmlp", command, "shards", "--recipe", name, "--out", name, *options, *words]
    done = run_torchrun(2, *arguments, cwd=place, timeout=240)
    assert done.returncode == 0, done.stderr


def check(run: Path, recipe: str, changed: set[str]) -> None:
    """Two steps were taken by two processes, with the recipe's settings except those that are known to be `changed`."""
    assert "2 processes" in (run / "log.txt").read_text()
    assert (run / "resume" / "step-000000002").is_dir()
    with (run / "results.csv").open() as file:
        assert all(math.isfinite(float(row["train_loss"])) for row in csv.DictReader(file))
    assert json.loads((run / "metrics.json").read_text())["evaluations"]["validation"]["num_examples"] > 0
    stored, wanted = (
        _flat(values) for values in (json.loads((run / "recipe.json").read_text()), to_dict(load_recipe(recipe)))
    )
    assert {key for key in wanted if stored[key] != wanted[key]} <= changed


def _flat(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in values.items():
        flat |= _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return flat


def names(found: list[str]) -> list[Any]:
    return [name if name in FAST else pytest.param(name, marks=pytest.mark.slow) for name in found]


RESOLVED = {"num_epochs", "precision", "model.num_classes", "data.interpolation"}


@pytest.mark.parametrize("name", names(PRETRAINING))
def test_pre_training_starts(name: str, place: Path) -> None:
    settings = {**LENGTH, "schedule.warmup_steps": 1, **{f"model.{key}": value for key, value in WIDTHS.items()}}
    start(place, "train", name, settings)
    check(place / name, name, {*settings, *RESOLVED})


@pytest.mark.parametrize("name", names(FINE_TUNING))
def test_fine_tuning_starts(name: str, place: Path) -> None:
    settings = {**LENGTH, "data.folds": 0}
    if load_recipe(name).schedule.warmup_steps:
        settings["schedule.warmup_steps"] = 1
    start(place, "finetune", name, settings, "--from", "pretrained")
    of_checkpoint = {
        key for key in _flat(to_dict(load_recipe(name))) if key.startswith(("model.", "data.mean", "data.std"))
    }
    check(place / name, name, {*settings, *RESOLVED, *of_checkpoint, "transfer.checkpoint", "transfer.cached_passes"})


@pytest.mark.slow
def test_the_grid_of_fine_tuning_starts(place: Path) -> None:
    options = ("--from", "pretrained", "--lr-grid", "paper", "--out", "grid")
    settings = [word for key, value in LENGTH.items() for word in ("--set", f"{key}={value}")]
    done = run_torchrun(
        2,
        "-m",
        "allmlp",
        "finetune",
        "shards",
        "--recipe",
        "finetune_paper",
        *options,
        *settings,
        cwd=place,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr
    runs = sorted(path.name for path in (place / "grid").glob("lr-*"))
    assert runs == ["lr-0.003", "lr-0.01", "lr-0.03", "lr-0.06"]
    scores = json.loads((place / "grid" / "learning_rates.json").read_text())
    assert len(scores["trials"]) == 4 and scores["best"] in runs
    for run in runs:
        assert (place / "grid" / run / "resume" / "step-000000002").is_dir()
