"""Fine-tuning on a task by the paper's rules: real runs of seconds on coloured photos."""

import dataclasses
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from tests.builders import tiny_checkpoint
from tests.studies.tasks.task_contexts import TaskContext
from tests.training.small_runs import CLASSES, write_photos

from allmlp import evaluate
from allmlp.checkpoints import STARTER, load_checkpoint, save_checkpoint
from allmlp.checkpoints.sources.catalog import PAPER_PREPROCESSING, TIMM_PREPROCESSING
from allmlp.config import to_dict
from allmlp.errors import DataError
from allmlp.model import variant_config
from allmlp.recipes import load_recipe
from allmlp.studies.study import Arm, StudyOptions
from allmlp.studies.tasks.fine_tuning import fine_tune, num_parts, task_recipe
from allmlp.studies.tasks.sources import task_arms
from allmlp.studies.tasks.task import AVG_5, VTAB_1K

# The rules of a task, but two learning rates.
TASKS = {"imagenet": dataclasses.replace(AVG_5["imagenet"], learning_rates=(0.003, 0.06))}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("tasks")
    write_photos(root / "imagenet", per_class=14)
    save_checkpoint(
        tiny_checkpoint(patch_size=4, hidden_dim=16, tokens_mlp_dim=8, channels_mlp_dim=24), root / "pretrained"
    )
    return root


def arm_and_context(data: Path, folder: Path, *, stop_at: str | None = None) -> tuple[Arm, TaskContext]:
    options = StudyOptions(data=str(data), num_steps=6, checkpoint=str(data / "pretrained"))
    (arm,) = task_arms(TASKS, options, num_seeds=1)
    return arm, TaskContext(folder, options, stop_at)


@pytest.fixture(scope="module")
def whole(data: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Mapping[str, Any]]:
    """The folder and the figures of a task that was never interrupted."""
    arm, context = arm_and_context(data, tmp_path_factory.mktemp("whole"))
    return context.folder, fine_tune(TASKS, arm, context)


def splits_of(run: Path) -> dict[str, list[str]]:
    return {name: sorted(ids) for name, ids in json.loads((run / "split.json").read_text()).items()}


def test_held_out_photos_choose_a_rate_and_test_photos_are_scored_once(
    data: Path, whole: tuple[Path, Mapping[str, Any]]
) -> None:
    folder, figures = whole
    assert json.loads(json.dumps(figures)) == figures
    rates = {run.name: splits_of(run) for run in (folder / "rates").glob("lr-*")}
    assert set(rates) == {"lr-0.003", "lr-0.06"}
    last = splits_of(folder / "last")
    for splits in rates.values():
        assert set(splits) == {"train", "validation"}  # no test photos
        assert sorted(splits["train"] + splits["validation"]) == last["train"]
        assert len(splits["validation"]) == 3  # 1 %, at least one of each class
    assert len(last["test"]) == 42
    held_out = {each["learning_rate"]: each["held_out_top1"] for each in figures["rates"]}
    assert held_out[figures["learning_rate"]] == max(held_out.values())
    for rate, top1 in held_out.items():
        scores = json.loads((folder / "rates" / f"lr-{rate:g}" / "metrics.json").read_text())
        assert scores["evaluations"]["validation"]["top1"] == top1
    assert figures["top1"] == evaluate(folder / "last", data / "imagenet", split="test").top1
    assert (figures["num_train"], figures["num_held_out"], figures["num_test"]) == (42, 3, 42)
    recipe = json.loads((folder / "last" / "recipe.json").read_text())
    assert (recipe["batch_size"], recipe["num_steps"], recipe["optimizer"]["name"]) == (512, 6, "sgd")
    assert recipe["optimizer"]["learning_rate"] == figures["learning_rate"]


def test_an_interrupted_task_continues(data: Path, tmp_path: Path, whole: tuple[Path, Mapping[str, Any]]) -> None:
    arm, context = arm_and_context(data, tmp_path, stop_at="is the best on held-out photos")
    with pytest.raises(KeyboardInterrupt):
        fine_tune(TASKS, arm, context)
    ends = {path: path.stat().st_mtime_ns for path in tmp_path.glob("rates/*/metrics.json")}
    assert len(ends) == 2 and not (tmp_path / "last").exists()
    arm, context = arm_and_context(data, tmp_path)
    resumed = fine_tune(TASKS, arm, context)
    assert {path: path.stat().st_mtime_ns for path in ends} == ends  # the rates were not trained again
    assert {**resumed, "images_per_second": 0} == {**whole[1], "images_per_second": 0}


def test_imagenet_is_scored_by_reals_labels_too(data: Path, tmp_path: Path) -> None:
    tasks = {"imagenet": dataclasses.replace(TASKS["imagenet"], learning_rates=(0.03,))}
    labels = data / "imagenet_real.json"
    try:
        labels.write_text(json.dumps({"blue/00.png": ["blue"]}))
        arm, context = arm_and_context(data, tmp_path / "incomplete")
        with pytest.raises(DataError, match=r"imagenet_real.json: 41 entries of the label sets cannot be used"):
            fine_tune(tasks, arm, context)
        assert not (tmp_path / "incomplete").exists()  # before anything was trained
        every = {f"{name}/{index:02}.png": list(CLASSES) for name in CLASSES for index in range(14)}
        labels.write_text(json.dumps({**every, "blue/00.png": []}))
        arm, context = arm_and_context(data, tmp_path / "real")
        figures = fine_tune(tasks, arm, context)
    finally:
        labels.unlink()
    assert (figures["real_top1"], figures["num_real"]) == (1.0, 41)  # any answer is right, and one photo does not count
    assert figures["num_test"] == 42


def test_from_the_paper_s_weights_the_recipe_is_finetune_paper() -> None:
    checkpoint = tiny_checkpoint(image_size=(224, 224), patch_size=16, preprocessing=PAPER_PREPROCESSING)
    recipe = task_recipe(AVG_5["pets"], checkpoint, "b16-i21k", num_steps=500, seed=3, device="cpu")
    ours, paper = to_dict(recipe), to_dict(load_recipe("finetune_paper"))
    changed = {key: value for key, value in ours.items() if value != paper[key]}
    assert changed == {"num_epochs": 0, "num_steps": 500, "seed": 3, "best_by": "last"}


def test_pixels_are_scaled_as_the_checkpoint_says_and_crops_follow_its_image_size() -> None:
    starter = load_checkpoint(STARTER)
    recipe = task_recipe(AVG_5["cifar10"], starter, STARTER, num_steps=10, seed=0, device="cpu")
    assert (recipe.data.law, recipe.data.interpolation) == (
        starter.preprocessing.law,
        starter.preprocessing.interpolation,
    )
    assert (recipe.data.fit, recipe.data.crop_fraction) == ("crop", 0.875)
    assert recipe.augmentation.pad_pixels == 5  # of 64, as 16 of 224
    timm = tiny_checkpoint(image_size=(224, 224), patch_size=16, preprocessing=TIMM_PREPROCESSING)
    assert task_recipe(AVG_5["cifar10"], timm, "x", num_steps=1, seed=0, device="cpu").data.law == "timm"
    squashed = dataclasses.replace(PAPER_PREPROCESSING, fit="squash", crop_fraction=1.0, law="vit_jax")
    vit_jax = tiny_checkpoint(image_size=(224, 224), patch_size=16, preprocessing=squashed)
    assert task_recipe(AVG_5["cifar10"], vit_jax, "x", num_steps=1, seed=0, device="cpu").data.law == "big_vision"


@pytest.mark.parametrize(
    ("name", "image_size", "crop", "flip"),
    [
        ("svhn", None, "pad", True),
        ("dtd", (128, 128), "pad", True),
        ("clevr_count", (128, 128), "none", True),
        ("smallnorb_azimuth", (128, 128), "pad", False),
        ("dsprites_location", None, "none", False),
    ],
)
def test_vtab_s_labels_survive_the_augmentation(
    name: str, image_size: tuple[int, int] | None, crop: str, flip: bool
) -> None:
    starter = load_checkpoint(STARTER)
    recipe = task_recipe(VTAB_1K[name], starter, STARTER, num_steps=10, seed=0, device="cpu")
    assert recipe.transfer.image_size == image_size
    assert (recipe.augmentation.crop, recipe.augmentation.flip) == (crop, flip)
    assert (recipe.data.fit, recipe.data.crop_fraction) == ("squash", 0.875 if crop == "pad" else 1.0)


@pytest.mark.parametrize("variant", ["S/32", "B/16", "H/14"])
def test_a_batch_is_divided_as_far_as_the_memory_asks(variant: str) -> None:
    parts = {device: num_parts(variant_config(variant), 512, device=device) for device in ("cpu", "cuda")}
    assert all(512 % count == 0 and math.log2(count).is_integer() for count in parts.values())
    assert parts["cpu"] >= parts["cuda"]
    assert num_parts(variant_config(variant), 1, device="cpu") == 1
