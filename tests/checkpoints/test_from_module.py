"""`Checkpoint.from_module`: what an own loop trained is saved with the description that it started from."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from tests.builders import tiny_checkpoint
from torch import nn

from allmlp import Checkpoint, CheckpointError, ConfigError, MlpMixer, load_checkpoint, save_checkpoint

NAMES = ("hat", "shoe", "skirt")
START = tiny_checkpoint(class_names=NAMES).replace(temperature=2.0)


def trained() -> MlpMixer:
    model = START.build().train()
    images = torch.randn(4, 3, *START.config.image_size, generator=torch.Generator().manual_seed(0))
    nn.functional.cross_entropy(model(images), torch.tensor([0, 1, 2, 0])).backward()
    torch.optim.SGD(model.parameters(), 0.1).step()
    return model


def test_what_a_loop_trained_is_saved_and_loads_with_its_logits(tmp_path: Path) -> None:
    model = trained()
    saved = Checkpoint.from_module(model, like=START)
    with torch.no_grad():
        model.patch_projection.bias.zero_()  # training goes on; the checkpoint is a copy
    loaded = load_checkpoint(save_checkpoint(saved, tmp_path / "mine"))
    assert loaded.description == saved.description
    assert (loaded.class_names, loaded.preprocessing, loaded.temperature) == (NAMES, START.preprocessing, 1.0)
    images = torch.randn(2, 3, *START.config.image_size)
    assert torch.equal(loaded.build()(images), saved.build()(images))
    assert not torch.equal(loaded.build()(images), START.build()(images))
    assert loaded.source.startswith(START.source)


@pytest.mark.parametrize("wrap", [nn.DataParallel, torch.compile, lambda model: nn.DataParallel(torch.compile(model))])
def test_wrappers_of_torch_are_taken_off(wrap: type[nn.DataParallel]) -> None:
    model = trained()
    saved = Checkpoint.from_module(wrap(model), like=START.description)
    assert all(torch.equal(saved.weights[name], weight) for name, weight in model.state_dict().items())


def replaced(model: MlpMixer) -> None:
    model.head = nn.Linear(START.config.hidden_dim, 5)


def reset(model: MlpMixer) -> None:
    model.reset_classifier(5)


@pytest.mark.parametrize("change", [replaced, reset])
def test_the_classes_follow_a_changed_classifier(change: object, tmp_path: Path) -> None:
    model = START.build()
    change(model)  # type: ignore[operator]
    assert model.config.num_classes == 5
    assert Checkpoint.from_module(model, like=START).class_names == tuple("01234")
    named = Checkpoint.from_module(model, like=START, class_names=list("abcde"))
    assert load_checkpoint(save_checkpoint(named, tmp_path / "mine")).class_names == tuple("abcde")
    with pytest.raises(CheckpointError, match="2 class names for a classifier of 5"):
        Checkpoint.from_module(model, like=START, class_names=["a", "b"])


@pytest.mark.parametrize("head", [None, nn.Identity()])
def test_a_removed_classifier_leaves_features(head: nn.Module | None) -> None:
    model = START.build()
    model.head = head  # type: ignore[assignment]
    saved = Checkpoint.from_module(model, like=START)
    assert (model.config.num_classes, saved.class_names) == (0, ())
    images = torch.randn(2, 3, *START.config.image_size)
    assert torch.equal(saved.build()(images), model(images))


def test_a_new_classifier_is_zero_and_of_the_modules_type() -> None:
    model = START.build().double()
    model.reset_classifier(4)
    assert model.head is not None
    assert model.head.weight.dtype == torch.float64
    assert not model.head.weight.any() and not model.head.bias.any()
    model.reset_classifier(0)
    assert model.head is None
    with pytest.raises(ConfigError, match="num_classes is -1"):
        model.reset_classifier(-1)


def test_weights_that_do_not_fit_are_named() -> None:
    model = START.build()
    model.head = nn.Sequential(nn.Linear(START.config.hidden_dim, 8), nn.Linear(8, 3))  # type: ignore[assignment]
    with pytest.raises(CheckpointError, match=r"(?s)missing: head\.bias.*unexpected: head\.0\.bias"):
        Checkpoint.from_module(model, like=START)


UNUSABLE = {
    "meta": lambda: START.build().to("meta"),
    "quantised": lambda: torch.ao.quantization.quantize_dynamic(START.build(), {nn.Linear}),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("module", UNUSABLE.values(), ids=UNUSABLE)
def test_weights_that_are_no_numbers_to_copy_are_named(module: Callable[[], nn.Module]) -> None:
    with pytest.raises(ConfigError, match=r"quantised or without data .*: \w+.* more"):
        Checkpoint.from_module(module(), like=START)


def test_a_classifier_under_another_name_is_named() -> None:
    model = START.build()
    model.classifier = model.head
    del model.head
    with pytest.raises(CheckpointError, match=r"unexpected: classifier\.bias"):
        Checkpoint.from_module(model, like=START)


@pytest.mark.parametrize("names", [5, "abc", [1, 2, 3], ["a", "b", None]])
def test_class_names_that_are_no_texts_are_one_error(names: object) -> None:
    with pytest.raises((ConfigError, CheckpointError), match=r"expected (texts|one name per class)"):
        Checkpoint.from_module(START.build(), like=START, class_names=names)  # type: ignore[arg-type]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_weights_of_another_width_keep_it(dtype: torch.dtype, tmp_path: Path) -> None:
    saved = Checkpoint.from_module(START.build().to(dtype), like=START)
    loaded = load_checkpoint(save_checkpoint(saved, tmp_path / "mine"))
    assert {weight.dtype for weight in loaded.weights.values()} == {dtype}


@pytest.mark.parametrize("module", [None, nn.Linear(2, 2), START, START.weights])
def test_another_module_is_one_error(module: object) -> None:
    with pytest.raises(ConfigError, match="expected an MlpMixer"):
        Checkpoint.from_module(module, like=START)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["0", "1.mixer", "2.0"])
def test_a_mixer_inside_another_module_is_named(name: str) -> None:
    parts = [nn.ReLU(), nn.ModuleDict({"other": nn.ReLU()}), nn.Sequential(nn.ReLU())]
    holder = nn.Sequential(*parts)
    parent, _, child = name.rpartition(".")
    holder.get_submodule(parent).add_module(child, START.build())
    with pytest.raises(ConfigError, match=re.escape(f"give its part {name!r}")):
        Checkpoint.from_module(holder, like=START)


@pytest.mark.parametrize("like", [None, "runs/mine", START.config])
def test_another_description_is_one_error(like: object) -> None:
    with pytest.raises(ConfigError, match=r"like is .*; expected the Checkpoint"):
        Checkpoint.from_module(START.build(), like=like)  # type: ignore[arg-type]


@pytest.mark.parametrize("given", [START.build(), START.weights, None, "runs/mine"])
def test_saving_what_is_no_checkpoint_names_the_way(given: object, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"save_checkpoint takes a Checkpoint, not \w+.*Checkpoint\.from_module"):
        save_checkpoint(given, tmp_path / "x")  # type: ignore[arg-type]
    assert not (tmp_path / "x").exists()
