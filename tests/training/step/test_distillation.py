"""Training with a teacher. Oracles: training without one on the labels that it gives, and the teacher's own forward pass."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from tests.training.same_run import assert_same_run, differences
from tests.training.small_runs import CLASSES, TINY, write_photos
from tests.training.test_stored_run import StopAt
from torch import Tensor

from allmlp import Checkpoint, Preprocessing, finetune, open_model, save_checkpoint, train
from allmlp.config import override
from allmlp.data import Augmentation
from allmlp.errors import CheckpointError, ConfigError
from allmlp.model import MlpMixer
from allmlp.training import DistillationConfig, Recipe, Teacher, TransferConfig
from allmlp.training.recipe.resolve import with_settings
from allmlp.training.step.batch import TrainingBatch
from allmlp.training.step.distillation import taught, with_teacher


def checkpoint(
    *, class_names: tuple[str, ...] = CLASSES, side: int = 16, temperature: float = 1.0, seed: int = 3
) -> Checkpoint:
    config = dataclasses.replace(TINY.model, image_size=(side, side)).with_num_classes(len(class_names))
    torch.manual_seed(seed)
    weights = {name: torch.randn_like(value) * 0.2 for name, value in MlpMixer(config).state_dict().items()}
    preprocessing = Preprocessing(image_size=(side, side), mean=(0.4, 0.5, 0.6), std=(0.2, 0.3, 0.4))
    return Checkpoint(
        config=config,
        weights=weights,
        preprocessing=preprocessing,
        class_names=class_names,
        source="a test",
        temperature=temperature,
    )


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_photos(tmp_path_factory.mktemp("photos"), splits=("train", "validation"))


@pytest.fixture
def teacher(tmp_path: Path) -> Path:
    return save_checkpoint(checkpoint(), tmp_path / "teacher")


def with_distillation(teacher: str | Path, **changes: Any) -> Recipe:
    config = DistillationConfig(teacher=str(teacher), weight=changes.pop("weight", 0.5))
    return dataclasses.replace(TINY, distillation=config, num_epochs=2, **changes)


def opened(source: Path, classes: tuple[str, ...] = CLASSES) -> Teacher:
    recipe, teacher = with_teacher(with_distillation(source), None, classes, device="cpu")  # type: ignore[arg-type]
    assert teacher is not None
    assert recipe.distillation.teacher == str(source)
    assert len(recipe.distillation.digest or "") == 12
    return teacher


def test_a_teacher_answers_with_the_probabilities_of_its_model_for_the_classes_of_the_photos(tmp_path: Path) -> None:
    model = checkpoint(class_names=("red", "cat", "green", "blue"), temperature=1.7)
    teacher = opened(save_checkpoint(model, tmp_path / "teacher"))
    pixels = torch.rand(5, 3, 16, 16)
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in ((0.4, 0.5, 0.6), (0.2, 0.3, 0.4)))
    logits = torch.from_numpy(open_model(model).forward(((pixels - mean) / std).numpy()))
    expected = F.softmax(logits[:, [3, 2, 0]] / 1.7, dim=1)  # blue, green, red
    torch.testing.assert_close(teacher(pixels), expected)


def test_a_teacher_of_another_size_sees_resized_images(tmp_path: Path) -> None:
    small = opened(save_checkpoint(checkpoint(side=8), tmp_path / "teacher"))
    colours = torch.rand(2, 3, 1, 1)  # of which resizing changes nothing
    torch.testing.assert_close(small(colours.expand(2, 3, 16, 16)), small(colours.expand(2, 3, 8, 8)))


def test_the_label_is_divided_between_the_photo_and_the_teacher(teacher: Path) -> None:
    recipe: Any = with_distillation(teacher, weight=0.25)
    labels, answers = torch.eye(3), torch.tensor([[0.2, 0.3, 0.5]] * 3)
    images = torch.rand(3, 3, 16, 16)
    seen: list[Tensor] = []

    def function(pixels: Tensor) -> Tensor:
        seen.append(pixels)
        return answers

    batches = (batch for batch in [TrainingBatch(images, labels, None, np.zeros(3, np.uint64))])
    (batch,) = taught(batches, function, recipe)
    torch.testing.assert_close(batch.labels, 0.75 * labels + 0.25 * answers)
    torch.testing.assert_close(seen[0], images * 0.5 + 0.5)  # without the normalisation of the recipe
    assert batch.images is images


def test_a_teacher_that_knows_every_label_changes_no_bit(photos: Path, tmp_path: Path) -> None:
    plain = dataclasses.replace(TINY, num_epochs=2, augmentation=Augmentation(flip=True))

    def oracle(images: Tensor) -> Tensor:  # the class of a photo is its brightest channel
        return F.one_hot(2 - images.mean(dim=(2, 3)).argmax(dim=1), 3).float()

    recipe = dataclasses.replace(plain, distillation=DistillationConfig(teacher="oracle", weight=1.0))
    train(plain, photos, tmp_path / "plain", progress=None)
    result = train(recipe, photos, tmp_path / "taught", teacher=oracle, progress=None)
    assert result.recipe.distillation == recipe.distillation
    assert_same_run(tmp_path / "plain", tmp_path / "taught")


def test_a_teacher_changes_the_run_and_its_export_teaches_the_same(photos: Path, teacher: Path, tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    from allmlp import export

    train(dataclasses.replace(TINY, num_epochs=2), photos, tmp_path / "plain", progress=None)
    result = train(with_distillation(teacher), photos, tmp_path / "taught", progress=None)
    assert differences(tmp_path / "plain", tmp_path / "taught")
    file = export(teacher, to="onnx", out=tmp_path / "teacher.onnx")
    by_export = train(with_distillation(file), photos, tmp_path / "by_export", progress=None)
    losses = [run.evaluations["validation"].loss for run in (result, by_export)]
    assert losses[1] == pytest.approx(losses[0], rel=1e-3)


def test_a_resumed_run_repeats_the_steps_bit_for_bit(
    photos: Path, teacher: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(teacher.parent)
    recipe = with_distillation("teacher", accumulation=2)
    train(recipe, photos, tmp_path / "whole", progress=None)
    with pytest.raises(KeyboardInterrupt):
        train(recipe, photos, tmp_path / "parts", progress=StopAt(3))
    monkeypatch.chdir("/")  # the run keeps an absolute path
    train(None, photos, tmp_path / "parts", resume=True, progress=None)
    assert_same_run(tmp_path / "whole", tmp_path / "parts")


def test_a_run_is_not_resumed_with_another_teacher(photos: Path, teacher: Path, tmp_path: Path) -> None:
    recipe, run = with_distillation(teacher), tmp_path / "run"
    with pytest.raises(KeyboardInterrupt):
        train(recipe, photos, run, progress=StopAt(2))
    save_checkpoint(checkpoint(seed=4), teacher)
    with pytest.raises(ConfigError, match=r"distillation.teacher .*teacher: its digest is \w{12}, but this run has a"):
        train(recipe, photos, run, resume=True, progress=None)


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (lambda images: torch.full((len(images), 2), 0.5), r"it answered \(16, 2\) values"),
        (lambda images: torch.full((len(images), 3), torch.nan), "of which 0 are finite"),
    ],
)
def test_a_wrong_answer_of_a_function_ends_the_run(answer: Teacher, words: str, photos: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=f"distillation.teacher .*lambda.*{words}"):
        finetune(photos, tmp_path / "run", recipe=with_start(tmp_path), teacher=answer, progress=None)


def test_a_teacher_that_lacks_a_class_is_refused_before_anything_is_written(photos: Path, tmp_path: Path) -> None:
    source = save_checkpoint(checkpoint(class_names=("red", "green", "cat")), tmp_path / "teacher")
    with pytest.raises(CheckpointError, match=r"it does not know these classes of the photos: blue\. A teacher"):
        train(TINY, photos, tmp_path / "run", teacher=source, progress=None)
    assert not (tmp_path / "run").exists()


def test_a_missing_teacher_is_named(photos: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"nowhere\.onnx"):
        train(TINY, photos, tmp_path / "run", teacher=tmp_path / "nowhere.onnx", progress=None)


def test_a_function_needs_a_name_in_the_recipe(photos: Path, tmp_path: Path) -> None:
    from allmlp.training import train as train_recipe

    with pytest.raises(ConfigError, match="A teacher is given, but the recipe names none"):
        train_recipe(TINY, photos, tmp_path / "run", teacher=lambda images: images)


def test_with_a_teacher_features_are_not_cached(photos: Path, teacher: Path, tmp_path: Path) -> None:
    result = finetune(photos, tmp_path / "run", recipe=with_start(tmp_path, trained_blocks=0, cached_passes=2), teacher=teacher,
                      progress=None)  # fmt: skip
    assert result.recipe.transfer.cached_passes == 0
    assert json.loads((tmp_path / "run" / "recipe.json").read_text())["distillation"]["teacher"] == str(teacher)
    recipe = override(result.recipe, ["transfer.cached_passes=4"])
    with pytest.raises(
        ConfigError, match=r"--set transfer.cached_passes: with a teacher, .* features are computed anew"
    ):
        with_settings(recipe, ["transfer.cached_passes=4"])


def with_start(folder: Path, **transfer: Any) -> Recipe:
    start = save_checkpoint(checkpoint(seed=5), folder / "start")
    return dataclasses.replace(
        TINY, num_epochs=1, batch_size=16, transfer=TransferConfig(checkpoint=str(start), **transfer)
    )


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (["distillation.teacher=x", "distillation.weight=0"], "distillation.weight is 0.* expected a share over 0"),
        (["distillation.weight=0.3"], "distillation.weight is 0.3, but there is no teacher"),
        (["distillation.digest=abc"], "distillation.digest is abc, but there is no teacher"),
    ],
)
def test_wrong_settings_are_named(settings: list[str], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        override(TINY, settings)


def test_a_teacher_that_has_seen_the_held_out_photos_is_noted(tmp_path: Path) -> None:
    photos = write_photos(tmp_path / "photos", splits=("train",))
    plain = dataclasses.replace(TINY, num_epochs=1)
    train(dataclasses.replace(plain, seed=1), photos, tmp_path / "first", progress=None)
    result = train(plain, photos, tmp_path / "second", teacher=tmp_path / "first", progress=None)
    assert any("first was trained on" in note for note in result.dataset.notes), result.dataset.notes
