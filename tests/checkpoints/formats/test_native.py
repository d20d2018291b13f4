"""The native format: bit-exact round trips, and one clear error for every damaged, hostile or mistaken file."""

import contextlib
import json
import os
import resource
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from tests.builders import assert_same_weights, tiny_checkpoint, tiny_config
from tests.checkpoints.refusal import refused

from allmlp import Checkpoint, CheckpointError, ConfigError, MlpMixer, Preprocessing, load_checkpoint, save_checkpoint

CONFIG = tiny_config(image_size=(16, 24), gelu="erf", stochastic_depth=0.1)


def make_checkpoint(seed: int = 0, **changes: Any) -> Checkpoint:
    config = replace(CONFIG, **changes)
    return tiny_checkpoint(
        seed=seed,
        config=config,
        preprocessing=Preprocessing(
            image_size=config.image_size, crop_fraction=0.875, interpolation="bilinear", mean=(0.1, 0.2, 0.3)
        ),
        class_names=("dress", 'T-shirt "L"\n', "тапки 👟")[: config.num_classes],
    )


def assert_same(one: Checkpoint, other: Checkpoint) -> None:
    assert one.description == other.description
    assert_same_weights(one.weights, other.weights)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return save_checkpoint(make_checkpoint(), tmp_path / "checkpoint")


# Round trips


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16, torch.float64])
def test_a_checkpoint_comes_back_bit_for_bit(tmp_path: Path, dtype: torch.dtype) -> None:
    checkpoint = make_checkpoint()
    weights = {name: weight.to(dtype) for name, weight in checkpoint.weights.items()}
    weights["head.bias"] = torch.tensor([-0.0, torch.finfo(dtype).max, torch.finfo(dtype).tiny], dtype=dtype)
    checkpoint = replace(checkpoint, weights=weights)
    assert_same(load_checkpoint(save_checkpoint(checkpoint, tmp_path / "a" / "b")), checkpoint)


def test_saving_what_was_loaded_writes_the_same_bytes(folder: Path, tmp_path: Path) -> None:
    again = save_checkpoint(load_checkpoint(folder), tmp_path / "again")
    assert sorted(path.name for path in again.iterdir()) == ["config.json", "model.safetensors"]
    for name in ("config.json", "model.safetensors"):
        assert (again / name).read_bytes() == (folder / name).read_bytes()


def test_a_temperature_comes_back_and_one_is_not_written(tmp_path: Path) -> None:
    checkpoint = replace(make_checkpoint(), temperature=0.8125)
    assert_same(load_checkpoint(save_checkpoint(checkpoint, tmp_path / "mended")), checkpoint)
    # A folder from before there were temperatures, and one from now without: the same bytes.
    folder = save_checkpoint(make_checkpoint(), tmp_path / "plain")
    assert "temperature" not in json.loads((folder / "config.json").read_text(encoding="utf-8"))
    assert load_checkpoint(folder).temperature == 1.0


def test_a_temperature_of_1e999_is_refused(folder: Path) -> None:
    path = folder / "config.json"
    text = path.read_text(encoding="utf-8").replace('"format"', '"temperature": 1e999, "format"', 1)
    path.write_text(text, encoding="utf-8")
    with refused(path, "temperature", "finite"):
        load_checkpoint(folder)


def test_another_image_size_keeps_the_temperature() -> None:
    changed = replace(make_checkpoint(), temperature=0.5).at_resolution((32, 24))
    assert changed.temperature == 0.5


def test_a_mixer_without_classifier_comes_back(tmp_path: Path) -> None:
    checkpoint = make_checkpoint(num_classes=0)
    assert_same(load_checkpoint(save_checkpoint(checkpoint, tmp_path)), checkpoint)


def test_weights_that_are_views_or_need_gradients_are_saved(tmp_path: Path) -> None:
    checkpoint = make_checkpoint()
    transposed = {
        name: (weight.t().contiguous().t() if weight.ndim == 2 else weight.clone()).requires_grad_()
        for name, weight in checkpoint.weights.items()
    }
    save_checkpoint(replace(checkpoint, weights=transposed), tmp_path)
    assert_same(load_checkpoint(tmp_path), checkpoint)


def test_the_built_mixer_computes_in_float32_what_was_trained() -> None:
    model = MlpMixer(CONFIG).eval()
    checkpoint = make_checkpoint()
    model.load_state_dict(dict(checkpoint.weights))
    images = torch.randn(2, 3, 16, 24)
    built = checkpoint.build()
    assert not built.training
    assert torch.equal(built(images), model(images))
    half = replace(checkpoint, weights={k: v.bfloat16() for k, v in checkpoint.weights.items()}).build()
    assert {parameter.dtype for parameter in half.parameters()} == {torch.float32}
    assert torch.equal(half.head.weight, checkpoint.weights["head.weight"].bfloat16().float())


def test_training_the_built_mixer_leaves_the_checkpoint_alone() -> None:
    checkpoint = make_checkpoint()
    built = checkpoint.build()
    for parameter in built.parameters():
        assert parameter.requires_grad
        parameter.data.zero_()
    assert_same(checkpoint, make_checkpoint())


def test_a_run_folder_stands_for_its_best_checkpoint(tmp_path: Path) -> None:
    best, last = make_checkpoint(1), make_checkpoint(2)
    save_checkpoint(best, tmp_path / "run" / "checkpoints" / "best")
    save_checkpoint(last, tmp_path / "run" / "checkpoints" / "last")
    run = tmp_path / "run"
    for source in (run, str(run), run / "checkpoints", run / "checkpoints" / "best"):
        assert_same(load_checkpoint(source), best)
    for source in ("last", "last/model.safetensors", "last/config.json"):
        assert_same(load_checkpoint(run / "checkpoints" / source), last)


# Places that are no checkpoint


@pytest.mark.parametrize(("name", "words"), [("nowhere", "/nowhere: there is no such"), ("x" * 5000, "xxx")])
def test_a_place_that_is_not_there_is_named(tmp_path: Path, name: str, words: str) -> None:
    with refused(tmp_path, words):
        load_checkpoint(tmp_path / name)


def test_a_name_that_no_file_can_have_is_no_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"nul\\x00byte"):
        load_checkpoint(tmp_path / "nul\0byte")


def test_another_file_beside_a_checkpoint_is_read_without_its_configuration(folder: Path) -> None:
    other = folder / "other.safetensors"
    other.write_bytes((folder / "model.safetensors").read_bytes())
    with refused(other, "its 6 tokens do not form a square grid", "(16, 24)"):
        load_checkpoint(other)
    loaded = load_checkpoint(other, image_size=CONFIG.image_size)
    assert loaded.class_names == tuple(map(str, range(CONFIG.num_classes)))
    assert "unknown origin" in loaded.source


def test_an_empty_folder_says_what_is_expected(tmp_path: Path) -> None:
    with refused(tmp_path, "config.json", "run folder"):
        load_checkpoint(tmp_path)


@pytest.mark.parametrize("name", ["model.safetensors", "config.json"])
@pytest.mark.parametrize("kind", ["missing", "folder", "pipe", "dangling link", "device"])
def test_a_file_that_is_none_does_not_hang(folder: Path, name: str, kind: str) -> None:
    path = folder / name
    path.unlink()
    if kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind != "missing":
        path.symlink_to(folder / "gone" if kind == "dangling link" else "/dev/zero")
    with refused(folder, name):
        load_checkpoint(folder)
    if kind != "missing":
        with refused(folder, name):
            load_checkpoint(path)


# Damaged weights


# One of each part; the others are those of any safetensors file (containers/test_safetensors.py).
WEIGHT_DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda content: b"",
    "header": lambda content: content[:8] + b"{weights" + content[16:],
    "data cut": lambda content: content[:-1],
    "a pointer": lambda content: b"version https://git-lfs.github.com/spec/v1\n",
}


@pytest.mark.parametrize("damage", WEIGHT_DAMAGES)
def test_damaged_weights_are_named(folder: Path, damage: str) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(WEIGHT_DAMAGES[damage](path.read_bytes()))
    with refused(path):
        load_checkpoint(folder)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_weights_that_are_not_finite_are_all_listed(tmp_path: Path, value: float) -> None:
    checkpoint = make_checkpoint()
    for name in ("head.bias", "blocks.1.token_mixing.fc2.weight"):
        checkpoint.weights[name].view(-1)[-1] = value
    save_checkpoint(checkpoint, tmp_path)
    with refused(tmp_path / "model.safetensors", "head.bias", "blocks.1.token_mixing.fc2.weight", "NaN or inf"):
        load_checkpoint(tmp_path)


# Weights of another model


def test_missing_unexpected_and_misshapen_weights_are_all_listed(folder: Path) -> None:
    weights = dict(make_checkpoint().weights)
    del weights["head.bias"], weights["blocks.1.token_norm.weight"]
    weights["blocks.2.extra"] = torch.zeros(2)
    weights["head.weight"] = torch.zeros(8, 3)
    weights["patch_projection.weight"] = torch.zeros(8, 3, 16, 16)
    weights["evil\x1b[2J\nname"] = torch.zeros(1)
    lines = (
        "missing: head.bias (3,)",
        "missing: blocks.1.token_norm.weight (8,)",
        "unexpected: blocks.2.extra (2,)",
        "unexpected: evil\\x1b[2J\\nname (1,)",
        "shape: head.weight is (8, 3), expected (3, 8)",
        "shape: patch_projection.weight is (8, 3, 16, 16), expected (8, 3, 8, 8)",
    )
    save_file(weights, folder / "model.safetensors")
    with refused(folder / "model.safetensors", *lines):
        load_checkpoint(folder)
    with refused("made by a test", *lines):
        replace(make_checkpoint(), weights=weights)


@pytest.mark.parametrize(("num_blocks", "word"), [(1, "unexpected"), (3, "missing"), (1_000, "missing")])
def test_another_number_of_blocks_is_a_difference_of_names(folder: Path, num_blocks: int, word: str) -> None:
    change_config(folder, lambda values: values["model"].update(num_blocks=num_blocks))
    with refused(folder / "model.safetensors", word, "blocks."):
        load_checkpoint(folder)


def test_integer_weights_are_refused() -> None:
    checkpoint = make_checkpoint()
    weights = {**checkpoint.weights, "head.bias": torch.zeros(3, dtype=torch.int64)}
    with refused("head.bias", "floating"):
        replace(checkpoint, weights=weights)


# config.json


def change_config(folder: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    path = folder / "config.json"
    values = json.loads(path.read_text(encoding="utf-8"))
    change(values)
    path.write_text(json.dumps(values), encoding="utf-8")


# More of them, and what is said: tests/io/test_json_object.py.
CONFIG_CONTENTS: dict[str, bytes] = {
    "not JSON": b"{model: 3}",
    "a list": b"[]",
    "another program's": b'{"name": "mixer_b16_224"}',
}


@pytest.mark.parametrize("content", CONFIG_CONTENTS)
def test_a_configuration_that_is_none_is_named(folder: Path, content: str) -> None:
    (folder / "config.json").write_bytes(CONFIG_CONTENTS[content])
    with refused(folder / "config.json"):
        load_checkpoint(folder)


def test_lists_as_deep_as_the_stack_are_refused(folder: Path) -> None:
    path = folder / "config.json"
    text = path.read_text(encoding="utf-8")
    for depth in range(850, 1050, 10):
        path.write_text(text.replace('"made by a test"', "[" * depth + "]" * depth), encoding="utf-8")
        with refused(path):
            load_checkpoint(folder)


# Saving that fails


@contextlib.contextmanager
def files_of_at_most(num_bytes: int) -> Iterator[None]:
    """Let the operating system refuse to write more, as a full disk does."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (num_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_full_disk_leaves_the_old_checkpoint(folder: Path) -> None:
    num_bytes = (folder / "model.safetensors").stat().st_size
    with files_of_at_most(num_bytes // 2), pytest.raises(ConfigError, match=r"model\.safetensors.*File too large"):
        save_checkpoint(make_checkpoint(1), folder)
    assert_same(load_checkpoint(folder), make_checkpoint())
    assert sorted(path.name for path in folder.iterdir()) == ["config.json", "model.safetensors"]


def test_a_disk_that_fills_between_the_two_files_leaves_the_old_checkpoint(folder: Path) -> None:
    other = replace(make_checkpoint(1, num_blocks=1), source="long " * 20_000)
    with files_of_at_most(50_000), pytest.raises(ConfigError, match=r"config\.json.*File too large"):
        save_checkpoint(other, folder)
    assert_same(load_checkpoint(folder), make_checkpoint())
    assert sorted(path.name for path in folder.iterdir()) == ["config.json", "model.safetensors"]


def test_a_folder_in_the_way_leaves_the_old_weights(folder: Path) -> None:
    before = (folder / "model.safetensors").read_bytes()
    (folder / "config.json").unlink()
    (folder / "config.json").mkdir()
    with pytest.raises(ConfigError, match=r"config\.json"):
        save_checkpoint(make_checkpoint(1), folder)
    assert (folder / "model.safetensors").read_bytes() == before


def test_a_path_under_a_file_is_named(folder: Path) -> None:
    with pytest.raises(ConfigError, match=r"config\.json/best/model\.safetensors: could not be written"):
        save_checkpoint(make_checkpoint(1), folder / "config.json" / "best")
    assert_same(load_checkpoint(folder), make_checkpoint())


def test_a_new_checkpoint_replaces_the_old_one_whole(folder: Path) -> None:
    other = make_checkpoint(1, num_blocks=1, num_classes=2)
    save_checkpoint(other, folder)
    assert_same(load_checkpoint(folder), other)
