"""A run initialised from a trained Mixer: weights, the classifier by class names, what is trained and how fast, resumption."""

import dataclasses
import json
import re
import shutil
from pathlib import Path

import pytest
import torch
from tests.training.same_run import assert_same_run, final_state
from tests.training.small_runs import CLASSES, TINY, write_photos

from allmlp import Checkpoint, ConfigError, Preprocessing, load_checkpoint, save_checkpoint, train
from allmlp.checkpoints import FORMATS
from allmlp.data import Augmentation, open_dataset
from allmlp.errors import CheckpointError, DivergedError
from allmlp.model import MixerConfig, MlpMixer
from allmlp.training import DataConfig, Recipe, SavingConfig, TransferConfig
from allmlp.training.distributed.consistency import facts_of
from allmlp.training.progress import NoProgress
from allmlp.training.recipe.resolve import is_same_source, with_checkpoint
from allmlp.training.step.layer_decay import learning_rate_scales
from allmlp.training.step.optimizer import Optimizer

NAMES = ("red", "cat", "blue")
CONFIG = MixerConfig(
    image_size=(32, 16), patch_size=8, num_blocks=3, hidden_dim=12, tokens_mlp_dim=6, channels_mlp_dim=20, num_classes=3
)


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_photos(tmp_path_factory.mktemp("photos"))


def weights(config: MixerConfig) -> dict[str, torch.Tensor]:
    torch.manual_seed(3)
    return {name: torch.randn_like(value) * 0.2 for name, value in MlpMixer(config).state_dict().items()}


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    checkpoint = Checkpoint(
        config=CONFIG,
        weights=weights(CONFIG),
        preprocessing=Preprocessing(image_size=(32, 16), mean=(0.1, 0.2, 0.3), std=(0.3, 0.2, 0.1)),
        class_names=NAMES,
        source="a test",
    )
    return save_checkpoint(checkpoint, tmp_path_factory.mktemp("source") / "trained")


def transfer(source: Path | str, **changes: object) -> Recipe:
    return dataclasses.replace(
        TINY,
        ema_decay=None,
        transfer=TransferConfig(checkpoint=str(source), **changes),  # type: ignore[arg-type]
    )


def first_save(run: Path) -> dict[str, torch.Tensor]:
    from safetensors.torch import load_file

    tensors = load_file(run / "resume" / "step-000000000" / "state.safetensors")
    return {name.removeprefix("model/"): value for name, value in tensors.items() if name.startswith("model/")}


def test_a_run_begins_with_the_weights_the_mixer_and_the_preprocessing_of_its_checkpoint(
    photos: Path, source: Path, tmp_path: Path
) -> None:
    recipe = dataclasses.replace(transfer(source), num_epochs=1, saving=SavingConfig(keep_every=1))
    result = train(recipe, photos, tmp_path / "run")
    begun = first_save(tmp_path / "run")
    for name, value in weights(CONFIG).items():
        if not name.startswith("head."):
            assert torch.equal(begun[name], value), name
    best = load_checkpoint(tmp_path / "run")
    assert dataclasses.replace(best.config, stochastic_depth=0.0, dropout=0.0) == CONFIG
    assert (best.config.stochastic_depth, best.config.dropout) == (0.3, 0.1)  # the recipe's
    assert best.preprocessing.mean == (0.1, 0.2, 0.3)
    assert best.source.endswith(f", from {source}")
    assert result.recipe.transfer.checkpoint == str(source)


def test_classes_that_stay_keep_their_rows_and_new_ones_begin_at_zero(
    photos: Path, source: Path, tmp_path: Path
) -> None:
    recipe = dataclasses.replace(transfer(source), num_epochs=1, saving=SavingConfig(keep_every=1), head_bias=-6.9)
    train(recipe, photos, tmp_path / "run")
    begun, old = first_save(tmp_path / "run"), weights(CONFIG)
    for row, name in enumerate(CLASSES):
        wanted = old["head.weight"][NAMES.index(name)] if name in NAMES else torch.zeros(12)
        assert torch.equal(begun["head.weight"][row], wanted), name
        wanted = old["head.bias"][NAMES.index(name)] if name in NAMES else torch.tensor(-6.9)
        assert begun["head.bias"][row] == wanted, name


def test_synsets_count_as_names_of_imagenets_classes() -> None:
    from allmlp.data import label_names

    names = label_names("imagenet-1k")
    config = dataclasses.replace(CONFIG, num_classes=1000)
    checkpoint = Checkpoint(
        config=config,
        weights=weights(config),
        preprocessing=Preprocessing(image_size=(32, 16)),
        class_names=names,
        source="a test",
    )
    changed = checkpoint.with_new_head(("dog", "n01443537"))  # goldfish, the second class
    assert torch.equal(changed.weights["head.weight"][1], checkpoint.weights["head.weight"][1])
    assert not changed.weights["head.weight"][0].any()


def test_the_numbers_of_classes_without_names_are_no_names(source: Path) -> None:
    config = dataclasses.replace(CONFIG, num_classes=12)
    numbers = tuple(map(str, range(12)))
    unnamed = Checkpoint(
        config=config,
        weights=weights(config),
        preprocessing=Preprocessing(image_size=(32, 16)),
        class_names=numbers,
        source="a test",
    )
    assert not unnamed.with_new_head(numbers[:10]).weights["head.weight"].any()
    assert unnamed.with_new_head(numbers[:10]).source.endswith("new classifier with 10 classes")
    same = unnamed.with_new_head(numbers[::-1])  # the same classes
    assert torch.equal(same.weights["head.weight"].flip(0), unnamed.weights["head.weight"])
    digits = dataclasses.replace(load_checkpoint(source), class_names=("0", "1", "2"))  # trained on three digits
    assert torch.equal(digits.with_new_head(("2",)).weights["head.weight"], digits.weights["head.weight"][2:])


def test_a_temperature_goes_with_its_classes(source: Path) -> None:
    checkpoint = dataclasses.replace(load_checkpoint(source), temperature=1.5)
    assert checkpoint.with_new_head(NAMES).temperature == 1.5
    assert checkpoint.with_new_head(("red", "cat")).temperature == 1.0


def test_another_image_size_is_trained_at(photos: Path, source: Path, tmp_path: Path) -> None:
    recipe = dataclasses.replace(transfer(source, image_size=(24, 24)), num_epochs=1, saving=SavingConfig(keep_every=1))
    train(recipe, photos, tmp_path / "run")
    assert load_checkpoint(tmp_path / "run").config.image_size == (24, 24)
    resized = load_checkpoint(source).at_resolution((24, 24)).weights["blocks.1.token_mixing.fc1.weight"]
    assert torch.equal(first_save(tmp_path / "run")["blocks.1.token_mixing.fc1.weight"], resized)


@pytest.mark.parametrize("image_size", [(32, 16), (8, 32)])
def test_an_image_size_says_the_grid_of_a_file_that_does_not(
    image_size: tuple[int, int], photos: Path, tmp_path: Path
) -> None:
    """4 × 2 tokens are no square, 1 × 4 would be taken for 2 × 2: in both cases nothing is resampled."""
    config = dataclasses.replace(CONFIG, image_size=image_size)
    checkpoint = Checkpoint(
        config=config,
        weights=weights(config),
        preprocessing=Preprocessing(image_size=image_size),
        class_names=NAMES,
        source="a test",
    )
    FORMATS["google"].save(checkpoint, tmp_path / "x.npz")
    recipe = transfer(tmp_path / "x.npz", image_size=image_size)
    recipe = dataclasses.replace(recipe, num_epochs=1, saving=SavingConfig(keep_every=1))
    train(recipe, photos, tmp_path / "run")
    begun = first_save(tmp_path / "run")["blocks.1.token_mixing.fc1.weight"]
    assert torch.equal(begun, weights(config)["blocks.1.token_mixing.fc1.weight"])
    said = "Its 4 tokens are assumed to be those of 8 × 32 pixels"
    assert (said in (tmp_path / "run" / "log.txt").read_text()) == (image_size == (8, 32))


def test_the_name_of_the_shipped_weights_goes_before_a_folder_of_that_name(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "starter").mkdir()
    shipped = load_checkpoint("starter")
    assert shipped.source.startswith("starter: ")
    assert with_checkpoint(transfer("starter"), shipped).transfer.checkpoint == "starter"
    assert not is_same_source("starter", str(tmp_path / "starter"))
    with pytest.raises(CheckpointError, match="starter: not a checkpoint"):
        load_checkpoint("./starter")
    shutil.copytree(source, tmp_path / "starter", dirs_exist_ok=True)
    mine = load_checkpoint("./starter")
    assert mine.class_names == NAMES
    assert with_checkpoint(transfer("./starter"), mine).transfer.checkpoint == str(tmp_path / "starter")


@pytest.mark.parametrize(
    ("trained_blocks", "changed"),
    [
        (0, {"head"}),
        (1, {"blocks.2", "pre_head_norm", "head"}),
        (3, {"blocks.0", "blocks.1", "blocks.2", "pre_head_norm", "head"}),
        (None, {"patch_projection", "blocks.0", "blocks.1", "blocks.2", "pre_head_norm", "head"}),
    ],
)
def test_what_is_frozen_stays_bit_for_bit(
    trained_blocks: int | None, changed: set[str], photos: Path, source: Path, tmp_path: Path
) -> None:
    recipe = dataclasses.replace(transfer(source, trained_blocks=trained_blocks), ema_decay=0.9)
    train(recipe, photos, tmp_path / "run")
    state = final_state(tmp_path / "run")
    for kind in ("model", "average"):
        moved = {
            ".".join(name.split(".")[: 2 if name.startswith("blocks") else 1])
            for name, value in weights(CONFIG).items()
            if not name.startswith("head.") and not torch.equal(torch.as_tensor(state[f"{kind}/{name}"]), value)
        }
        assert moved | {"head"} == changed


def test_learning_rates_fall_by_layer_decay_from_the_classifier_down() -> None:
    model = MlpMixer(CONFIG)
    names = [name for name, _ in model.named_parameters()]
    scales = learning_rate_scales(names, TransferConfig(checkpoint="x", layer_decay=0.5), 3)
    assert scales["head.weight"] == scales["pre_head_norm.bias"] == 1.0
    assert scales["blocks.2.channel_mixing.fc2.bias"] == 0.5
    assert scales["blocks.0.token_norm.weight"] == 0.125
    assert scales["patch_projection.weight"] == 0.0625


@pytest.mark.parametrize("name", ["sgd", "adamw", "muon"])
def test_a_scaled_optimizer_steps_as_one_of_that_rate(name: str) -> None:
    """Oracle: an optimizer at half the rate for all, of which the scaled parameters must take the very steps."""
    from allmlp.training import OptimizerConfig

    rates = {"learning_rate": 0.02, **({"adamw_learning_rate": 0.004} if name == "muon" else {})}
    config = OptimizerConfig(name=name, weight_decay=0.3, **rates)  # type: ignore[arg-type]
    half = dataclasses.replace(config, **{key: value / 2 for key, value in rates.items()})
    models = []
    for chosen, scales in (
        (config, {"blocks.1.token_mixing.fc1.weight": 0.5, "head.bias": 0.5}),
        (half, {}),
        (config, {}),
    ):
        torch.manual_seed(0)
        model = MlpMixer(CONFIG)
        optimizer = Optimizer(model, chosen, scales)
        for step in range(3):
            torch.manual_seed(step)
            for parameter in model.parameters():
                parameter.grad = torch.randn_like(parameter)
            optimizer.step(optimizer.gradient_norm(), 0.7)
        models.append(dict(model.named_parameters()))
    scaled, at_half, at_full = models
    for key, value in scaled.items():
        wanted = at_half if key in ("blocks.1.token_mixing.fc1.weight", "head.bias") else at_full
        torch.testing.assert_close(value, wanted[key], rtol=0, atol=1e-7)


def test_a_run_goes_on_from_another_folder_and_without_its_checkpoint(
    photos: Path, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tests.training.test_stored_run import StopAt

    folder = tmp_path / "here"
    shutil.copytree(source, folder / "trained")
    monkeypatch.chdir(folder)
    recipe = transfer("trained")
    train(recipe, photos, tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        train(recipe, photos, tmp_path / "run", progress=StopAt(2), resume=True)
    shutil.rmtree(folder / "trained")
    train(recipe, photos, tmp_path / "run", resume=True)  # the same command
    assert_same_run(tmp_path / "run", tmp_path / "whole")


def test_a_run_whose_first_save_was_lost_begins_with_its_checkpoint_again_or_refuses(
    photos: Path, source: Path, tmp_path: Path
) -> None:
    recipe = dataclasses.replace(transfer(source), num_epochs=1)
    train(recipe, photos, tmp_path / "whole")
    run = tmp_path / "run"
    shutil.copytree(tmp_path / "whole", run)
    for part in ("resume", "checkpoints"):
        shutil.rmtree(run / part)
    (run / "metrics.json").unlink()
    train(recipe, photos, run, resume=True)
    assert_same_run(run, tmp_path / "whole")
    shutil.rmtree(run / "resume")
    (run / "metrics.json").unlink()
    other = tmp_path / "other"
    save_checkpoint(load_checkpoint(source).at_patch_size(4), other)
    moved = (run / "recipe.json").read_text().replace(str(source), str(other))
    (run / "recipe.json").write_text(moved)
    with pytest.raises(CheckpointError, match=r"not the Mixer that .* was started with"):
        train(dataclasses.replace(transfer(other), num_epochs=1), photos, run, resume=True)


def test_another_checkpoint_is_another_run(photos: Path, source: Path, tmp_path: Path) -> None:
    train(dataclasses.replace(transfer(source), num_epochs=1), photos, tmp_path / "run")
    (tmp_path / "run" / "metrics.json").unlink()
    other = dataclasses.replace(transfer("b16-i1k"), num_epochs=1)
    with pytest.raises(ConfigError, match=r'transfer.checkpoint: the run has ".*trained", now "b16-i1k"'):
        train(other, photos, tmp_path / "run", resume=True)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"trained_blocks": -1}, "transfer.trained_blocks is -1; expected a number of blocks"),
        (
            {"checkpoint": None, "trained_blocks": 0},
            "transfer.trained_blocks is 0, but training starts from random weights",
        ),
        (
            {"checkpoint": None, "image_size": (8, 8)},
            r"transfer.image_size is \(8, 8\), but training starts from random",
        ),
        ({"layer_decay": 0.0}, "transfer.layer_decay is 0.0; expected a value over 0 and at most 1"),
        ({"layer_decay": 1.5}, "transfer.layer_decay is 1.5; expected a value over 0 and at most 1"),
    ],
)
def test_what_cannot_be_is_refused(changes: dict[str, object], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        TransferConfig(**{"checkpoint": "x", **changes})  # type: ignore[arg-type]


def test_more_blocks_than_there_are_and_a_checkpoint_that_is_not_there_are_refused_before_anything_is_written(
    photos: Path, source: Path, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=r"transfer.trained_blocks is 4, but .*trained has 3 blocks"):
        train(transfer(source, trained_blocks=4), photos, tmp_path / "run")
    with pytest.raises(CheckpointError, match=r"nowhere: there is no such checkpoint"):
        train(transfer(tmp_path / "nowhere"), photos, tmp_path / "run")
    with pytest.raises(ConfigError, match="not a multiple of"):
        train(transfer(source, image_size=(20, 20)), photos, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_workers_and_storage_change_nothing_of_a_transfer(photos: Path, source: Path, tmp_path: Path) -> None:
    train(transfer(source), photos, tmp_path / "memory")
    streamed = dataclasses.replace(transfer(source), data=DataConfig(storage="stream", num_workers=2))
    train(streamed, photos, tmp_path / "stream")
    assert_same_run(tmp_path / "memory", tmp_path / "stream")


def test_photos_that_the_run_before_was_trained_on_are_told(photos: Path, tmp_path: Path) -> None:
    """Oracle: the split.json of both runs."""
    single = dataclasses.replace(TINY, num_epochs=1)
    train(single, photos, tmp_path / "first")
    splits = {}
    notes: dict[int, list[str]] = {}
    for seed in (0, 1):
        recipe = dataclasses.replace(single, seed=seed, transfer=TransferConfig(checkpoint=str(tmp_path / "first")))
        result = train(recipe, photos, tmp_path / f"seed{seed}")
        splits[seed] = json.loads((tmp_path / f"seed{seed}" / "split.json").read_text())
        notes[seed] = [note for note in result.dataset.notes if "was trained on" in note]
    both = set(splits[0]["train"]) & set(splits[1]["validation"])
    total = len(splits[1]["validation"])
    assert notes[0] == []
    assert len(notes[1]) == 1 and f"was trained on {len(both)} of the {total} validation photos" in notes[1][0]


class StopAtOnce(NoProgress):
    def __init__(self) -> None:
        self.notes: list[str] = []

    def message(self, text: str) -> None:
        self.notes += [text] if "was trained on" in text else []

    def step(self, step: int, **_: float) -> None:
        raise KeyboardInterrupt


@pytest.mark.parametrize(
    ("had_validation", "folds", "words"),
    [
        (True, 0, r"of the 3 validation photos .* use its seed \(--seed\)$"),
        (True, 3, r"of the 42 cross-validated photos .* Take other weights, or .* \(--folds 0 and its --seed\)$"),
        (False, 0, r"of the 3 validation photos .* held out none of them: .* in a split `test`$"),
        (False, 3, r"of the 42 cross-validated photos .* held out none of them: .* in a split `test`$"),
    ],
)
def test_a_run_on_photos_that_the_run_before_was_trained_on_says_what_to_do(
    had_validation: bool, folds: int, words: str, photos: Path, source: Path, tmp_path: Path
) -> None:
    before = shutil.copytree(source, tmp_path / "before")
    names = list(open_dataset(photos).splits["train"].sample_ids)
    saved = {"train": names[1:], "validation": names[:1]} if had_validation else {"train": names}
    (before / "split.json").write_text(json.dumps(saved))
    (before / "recipe.json").write_text("{}")
    recipe = dataclasses.replace(transfer(before), data=DataConfig(folds=folds))
    for resume in (False, True):
        stopped = StopAtOnce()
        with pytest.raises(KeyboardInterrupt):
            train(recipe, photos, tmp_path / "run", progress=stopped, resume=resume)
        assert len(stopped.notes) == 1 and re.search(words, stopped.notes[0]), stopped.notes


def test_a_run_goes_on_though_the_split_of_what_it_started_from_is_damaged(
    photos: Path, source: Path, tmp_path: Path
) -> None:
    before = shutil.copytree(source, tmp_path / "before")
    with pytest.raises(KeyboardInterrupt):
        train(transfer(before), photos, tmp_path / "run", progress=StopAtOnce())
    (before / "recipe.json").write_text("{}")
    (before / "split.json").write_text("{")
    with pytest.raises(CheckpointError, match=r"split\.json: cannot be read"):
        train(transfer(before), photos, tmp_path / "new")
    assert train(transfer(before), photos, tmp_path / "run", resume=True).evaluations


def test_processes_that_begin_with_other_weights_differ(photos: Path, source: Path) -> None:
    checkpoint = load_checkpoint(source)
    changed = {name: value.clone() for name, value in checkpoint.weights.items()}
    changed["blocks.2.channel_mixing.fc2.bias"][0] += 1.0
    dataset = open_dataset(photos)
    ours, theirs = (
        facts_of(transfer(source), dataset, photos / "run", None, each, device="cpu")
        for each in (checkpoint, dataclasses.replace(checkpoint, weights=changed))
    )
    assert {name for name in ours if ours[name] != theirs[name]} == {"initial weights"}


def test_logits_that_are_not_finite_are_a_divergence(photos: Path, source: Path, tmp_path: Path) -> None:
    """Weights that are finite, but so large that the logits are not: every step is skipped, the validation cannot be."""
    checkpoint = load_checkpoint(source)
    head = torch.full_like(checkpoint.weights["head.weight"], 3e38)
    hot = dataclasses.replace(checkpoint, weights={**checkpoint.weights, "head.weight": head})
    recipe = dataclasses.replace(
        transfer(save_checkpoint(hot, tmp_path / "hot")), num_epochs=1, on_nonfinite="skip", augmentation=Augmentation()
    )
    with pytest.raises(DivergedError, match=r"Step \d+: The model's logits are NaN or infinite"):
        train(recipe, photos, tmp_path / "run")
    assert (tmp_path / "run" / "diverged.json").exists()
