"""A run that trains only the classifier computes the features of each pass once. Oracle: training without the cache."""

import dataclasses
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.training.same_run import assert_same_run, final_state
from tests.training.small_runs import TINY, write_photos
from tests.training.test_cross_validation import StopInFold
from tests.training.test_stored_run import StopAt
from torch.nn.modules.module import register_module_forward_pre_hook

from allmlp import Checkpoint, Preprocessing, load_checkpoint, save_checkpoint, train
from allmlp.config import override
from allmlp.data import Augmentation, fold_datasets, fold_of_photos, open_dataset
from allmlp.errors import ConfigError
from allmlp.model import MlpMixer
from allmlp.model.mixer import PatchProjection
from allmlp.training import DataConfig, Recipe, TransferConfig, cached_features
from allmlp.training.recipe.resolve import with_settings
from allmlp.training.reporting.out_of_fold import predict_split

NUM_STEPS = 7  # 36 photos, in 3 epochs of batches of 16


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_photos(tmp_path_factory.mktemp("photos"))


@pytest.fixture(scope="module")
def whole(photos: Path, source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on two passes that nothing stopped."""
    return train(head_only(source, 2), photos, tmp_path_factory.mktemp("whole") / "run").directory


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    config = TINY.model.with_num_classes(3)
    torch.manual_seed(3)
    weights = {name: torch.randn_like(value) * 0.2 for name, value in MlpMixer(config).state_dict().items()}
    checkpoint = Checkpoint(
        config=config,
        weights=weights,
        preprocessing=Preprocessing(image_size=(16, 16)),
        class_names=("red", "cat", "blue"),
        source="a test",
    )
    return save_checkpoint(checkpoint, tmp_path_factory.mktemp("source") / "trained")


def head_only(source: Path, cached_passes: int, **changes: Any) -> Recipe:
    """The tiny recipe, with stochastic depth and dropout, for only the classifier; mixing is off also without a cache."""
    augmentation = dataclasses.replace(TINY.augmentation, mixup=0.0, cutmix=0.0)
    transfer = TransferConfig(checkpoint=str(source), trained_blocks=0, cached_passes=cached_passes)
    return dataclasses.replace(TINY, **{"augmentation": augmentation, "transfer": transfer} | changes)


@contextmanager
def counted_images() -> Iterator[list[tuple[int, bool]]]:
    """Yield a list that receives the number of images of each forward pass, and whether it was for training."""
    sizes: list[tuple[int, bool]] = []

    def note(module: torch.nn.Module, inputs: Any) -> None:
        if isinstance(module, PatchProjection):
            sizes.append((len(inputs[0]), module.training))

    handle = register_module_forward_pre_hook(note)
    try:
        yield sizes
    finally:
        handle.remove()


def assert_equal_up_to_rounding(run: Path, other: Path) -> None:
    mine, theirs = final_state(run), final_state(other)
    assert mine.keys() == theirs.keys()
    for name, value in theirs.items():
        np.testing.assert_allclose(mine[name], value, rtol=1e-4, atol=1e-6, err_msg=name)  # sums in another order
    metrics, others = (json.loads((path / "metrics.json").read_text()) for path in (run, other))
    assert metrics["sample_digest"] == others["sample_digest"]


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"accumulation": 2, "loss": "sigmoid", "ema_decay": None},
        {"sampler": "balanced", "num_epochs": 2},
        {"class_weights": "balanced", "batch_size": 48, "data": DataConfig(storage="stream")},  # more than the photos
    ],
)
def test_training_on_cached_passes_equals_training_without_a_cache(
    changes: dict[str, Any], photos: Path, source: Path, tmp_path: Path
) -> None:
    train(head_only(source, 0, **changes), photos, tmp_path / "plain")
    result = train(head_only(source, 9, **changes), photos, tmp_path / "cached")
    assert result.recipe.transfer.cached_passes == 9
    assert_equal_up_to_rounding(tmp_path / "cached", tmp_path / "plain")


def test_without_augmentation_one_pass_equals_training_without_a_cache(
    photos: Path, source: Path, tmp_path: Path
) -> None:
    still = dataclasses.replace(TINY.model, stochastic_depth=0.0, dropout=0.0)
    changes = {"augmentation": Augmentation(label_smoothing=0.1), "model": still, "num_epochs": 4}
    train(head_only(source, 0, **changes), photos, tmp_path / "plain")
    with counted_images() as sizes:
        result = train(head_only(source, 8, **changes), photos, tmp_path / "cached")
    assert result.recipe.transfer.cached_passes == 1
    assert_equal_up_to_rounding(tmp_path / "cached", tmp_path / "plain")
    assert sizes.count((16, True)) == 3  # the 36 photos, in batches of 16


def test_images_are_computed_once_per_pass(photos: Path, source: Path, tmp_path: Path) -> None:
    with counted_images() as sizes:
        train(head_only(source, 2, num_epochs=8), photos, tmp_path / "run")
    with counted_images() as later:
        train(head_only(source, 2, num_epochs=12), photos, tmp_path / "longer")
    assert sizes.count((16, True)) == 5  # two passes over 36 photos in batches of 16
    assert later == sizes  # more epochs need no further images, not for validation either


def test_what_does_not_fit_is_computed_in_every_step(
    photos: Path, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = head_only(source, 2, model=dataclasses.replace(TINY.model, dropout=0.0))
    train(recipe, photos, tmp_path / "cached")
    monkeypatch.setattr(cached_features, "MAX_BYTES", 1000)
    progress = StopAt(-1)
    with counted_images() as sizes:
        train(recipe, photos, tmp_path / "plain", progress=progress)
    assert "features computed in every step, since they would take 0.0 GB" in progress.messages
    assert sizes.count((16, True)) == NUM_STEPS
    assert_equal_up_to_rounding(tmp_path / "cached", tmp_path / "plain")


@pytest.mark.parametrize("step", [pytest.param(1, marks=pytest.mark.slow), 4, 6])
def test_a_stopped_run_goes_on_bit_for_bit(step: int, whole: Path, photos: Path, source: Path, tmp_path: Path) -> None:
    recipe = head_only(source, 2)
    with pytest.raises(KeyboardInterrupt):
        train(recipe, photos, tmp_path / "run", progress=StopAt(step))
    streamed = dataclasses.replace(recipe, data=DataConfig(storage="stream", num_workers=2))
    train(streamed, photos, tmp_path / "run", resume=True)
    assert_same_run(tmp_path / "run", whole)


def test_mixing_is_off_and_the_recipe_of_the_run_says_so(photos: Path, source: Path, tmp_path: Path) -> None:
    recipe = head_only(source, 2, augmentation=TINY.augmentation)
    result = train(recipe, photos, tmp_path / "run")
    assert (result.recipe.augmentation.mixup, result.recipe.augmentation.cutmix) == (0.0, 0.0)
    (tmp_path / "run" / "metrics.json").unlink()
    train(recipe, photos, tmp_path / "run", resume=True)  # the same request is not another recipe
    more = override(recipe, ["transfer.trained_blocks=1"])
    assert train(more, photos, tmp_path / "more").recipe.transfer.cached_passes == 0
    with pytest.raises(ConfigError, match=r"--set augmentation.mixup: only the classifier is trained, on features"):
        with_settings(recipe, ["augmentation.mixup=0.2"])
    with pytest.raises(ConfigError, match=r"transfer.cached_passes: features are computed once only if nothing but"):
        with_settings(more, ["transfer.cached_passes=4"])
    with pytest.raises(ConfigError, match=r"transfer.cached_passes is -1; expected 1 to 10,000 passes"):
        TransferConfig(checkpoint="x", cached_passes=-1)


@pytest.mark.parametrize("sampler", ["uniform", "balanced"])
def test_a_batch_may_hold_several_passes(sampler: str, photos: Path, source: Path, tmp_path: Path) -> None:
    changes = {"batch_size": 100, "num_epochs": 1, "sampler": sampler}
    train(head_only(source, 0, **changes), photos, tmp_path / "plain")
    train(head_only(source, 8, **changes), photos, tmp_path / "cached")
    assert_equal_up_to_rounding(tmp_path / "cached", tmp_path / "plain")


NUM_FOLDS = 3


def folded(source: Path) -> Recipe:
    """Two passes over 42 photos, in 10 steps; without dropout, whose masks depend on the step."""
    model = dataclasses.replace(TINY.model, dropout=0.0)
    return head_only(source, 2, num_epochs=4, data=DataConfig(folds=NUM_FOLDS), model=model)


def logits_of_folds(run: Path) -> list[Any]:
    found = []
    for number in range(1, 1 + NUM_FOLDS):
        with np.load(run / "folds" / f"fold-{number}.npz") as arrays:
            found.append(arrays["logits"])
    return found


@pytest.fixture(scope="module")
def whole_folded(photos: Path, source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    with counted_images() as sizes:
        run = train(folded(source), photos, tmp_path_factory.mktemp("whole folded") / "run").directory
    assert sizes.count((16, True)) == 6  # two passes over 42 photos in batches of 16: none for the folds
    return run


def test_folds_take_the_features_of_their_run(whole_folded: Path, photos: Path, source: Path, tmp_path: Path) -> None:
    """The oracle: the folds as runs of their own, which compute their features themselves."""
    dataset = open_dataset(photos)
    folds = fold_of_photos(dataset, num_folds=NUM_FOLDS, seed=TINY.seed)
    alone = override(folded(source), ["data.folds=0", "num_epochs=0", "num_steps=10", "best_by=last"])
    for number, fold in enumerate(fold_datasets(dataset, folds)):
        result = train(alone, fold, tmp_path / str(number))
        checkpoint = load_checkpoint(result.directory)
        expected = predict_split(checkpoint, fold.splits["validation"], device="cpu")
        found = logits_of_folds(whole_folded)[number]
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)  # sums in another order


@pytest.mark.parametrize(("fold", "step"), [(0, 7), (1, 3), pytest.param(3, 1, marks=pytest.mark.slow)])
def test_a_stopped_cross_validation_on_features_goes_on_bit_for_bit(
    fold: int, step: int, whole_folded: Path, photos: Path, source: Path, tmp_path: Path
) -> None:
    with pytest.raises(KeyboardInterrupt):
        train(folded(source), photos, tmp_path / "run", progress=StopInFold(fold, step))
    train(folded(source), photos, tmp_path / "run", resume=True)
    assert_same_run(tmp_path / "run", whole_folded)
    for mine, theirs in zip(logits_of_folds(tmp_path / "run"), logits_of_folds(whole_folded), strict=True):
        assert mine.tobytes() == theirs.tobytes()
