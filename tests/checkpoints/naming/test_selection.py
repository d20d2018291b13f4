"""The Mixer in a training checkpoint: found under any prefix, apart from what was saved with it, and a question for two."""

import argparse
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from tests.builders import GOLDEN_CONFIG, random_weights
from tests.checkpoints.refusal import refused
from tests.reference.other_layouts import linen_name, timm_name
from timm.models.mlp_mixer import MlpMixer as TimmMixer
from timm.utils import ModelEmaV3
from torch import Tensor, nn

from allmlp import load_checkpoint

CASES = Path(__file__).parents[2] / "cases" / "weights"
WEIGHTS = random_weights(GOLDEN_CONFIG)
STATE = {timm_name(name): weight for name, weight in WEIGHTS.items()}


def under(prefix: str, state: dict[str, Tensor] = STATE) -> dict[str, Tensor]:
    return {f"{prefix}{name}": weight for name, weight in state.items()}


def scaled(factor: float) -> dict[str, Tensor]:
    return {name: factor * weight for name, weight in STATE.items()}


@pytest.mark.parametrize(
    ("name", "rest"),
    [
        ("lightning_plain_reads.ckpt", None),
        ("lightning_weighted_loss.ckpt", "criterion.weight"),
        ("lightning_torchmetrics.ckpt", "val_acc.tp"),
    ],
)
def test_a_lightning_checkpoint_is_read_and_the_rest_is_named(name: str, rest: str | None, tmp_path: Path) -> None:
    shutil.copy(CASES / name, tmp_path / name)
    loaded = load_checkpoint(tmp_path / name)
    raw = torch.load(CASES / name, weights_only=True)["state_dict"]
    assert torch.equal(loaded.weights["head.weight"], raw["model.head.weight"])
    left_out = [remark for remark in loaded.remarks if "Left out" in remark]
    assert left_out == ([] if rest is None else [f"Only the Mixer under 'model.' was read. Left out: {rest}."])


COUNTS = {"val_acc.tp": torch.zeros((), dtype=torch.int64), "val_f1.confmat": torch.zeros(3, 3, dtype=torch.int64)}

# What is saved, and what is named as left out.
SISTERS: dict[str, tuple[Callable[[], Any], tuple[str, ...]]] = {
    "metrics in a module": (lambda: {"state_dict": under("model.") | COUNTS}, ("val_acc.tp", "val_f1.confmat")),
    "a loss with an ArcFace head": (
        lambda: {"state_dict": under("net.") | {"loss_fn.W": torch.zeros(5, 24), "loss_fn.norm.weight": torch.ones(5)}},
        ("loss_fn.W", "loss_fn.norm.weight"),
    ),
    "a projector next to a backbone": (
        lambda: {"state_dict": under("backbone.") | {"projector.0.weight": torch.zeros(3, 3)}, "meta": {"epoch": 3}},
        ("projector.0.weight",),
    ),
    "prefixes in prefixes": (lambda: under("module.model.") | {"module.ce.weight": torch.ones(7)}, ("module.ce.weight",)),
    "one unusual prefix": (lambda: under("net.backbone."), ()),
    "compiled in a Lightning module": (lambda: {"state_dict": under("model._orig_mod.")}, ()),
    "the form of PyTorch's tutorial": (
        lambda: {"epoch": 3, "model_state_dict": STATE, "optimizer_state_dict": {"state": {}, "param_groups": []}},
        (),
    ),
    "fastai": (lambda: {"model": STATE, "opt": {"state": [{"mom": torch.zeros(3)}], "hypers": [{"lr": 0.1}]}}, ()),
    "timm's train.py": (
        lambda: {
            "epoch": 3, "arch": "mixer", "state_dict": scaled(2), "state_dict_ema": STATE, "metric": 71.5, "version": 2,
            "optimizer": {"state": {0: {"exp_avg": torch.zeros(3)}}, "param_groups": [{"lr": 0.1, "params": [0]}]},
            "args": argparse.Namespace(model="mixer", lr=0.1), "amp_scaler": {"scale": 65536.0},
        },
        (),
    ),
    "mmpretrain's wrapper of timm": (
        lambda: {"state_dict": under("backbone.timm_model.", headless()) | {"head.fc.weight": torch.zeros(7, 24)}},
        ("head.fc.weight",),
    ),
    "Google's names in an old flax optimizer": (
        lambda: {f"target/{linen_name(name)}": in_flax(weight) for name, weight in WEIGHTS.items()}
        | {"state/step": torch.zeros((), dtype=torch.int32)},
        ("state/step",),
    ),
}  # fmt: skip


def headless() -> dict[str, Tensor]:
    return {name: weight for name, weight in STATE.items() if not name.startswith("head.")}


def in_flax(weight: Tensor) -> Tensor:
    return weight.permute({1: (0,), 2: (1, 0), 4: (2, 3, 1, 0)}[weight.ndim]).contiguous()


@pytest.mark.parametrize("case", SISTERS)
@pytest.mark.parametrize("form", ["zip", "legacy"])
def test_a_mixer_under_one_prefix_is_read_and_the_rest_is_named(case: str, form: str, tmp_path: Path) -> None:
    make, rest = SISTERS[case]
    torch.save(make(), tmp_path / "x.ckpt", _use_new_zipfile_serialization=form == "zip")
    loaded = load_checkpoint(tmp_path / "x.ckpt")
    assert all(torch.equal(weight, WEIGHTS[name]) for name, weight in loaded.weights.items())
    left_out = [remark for remark in loaded.remarks if "Left out" in remark]
    assert len(left_out) == bool(rest)
    assert all(name in left_out[0] for name in rest)


def test_the_average_of_timms_ema_goes_before_the_raw_weights(tmp_path: Path) -> None:
    model = TimmMixer(img_size=32, patch_size=8, num_blocks=3, embed_dim=24, mlp_ratio=(0.5, 2), num_classes=7)
    module = nn.ModuleDict({"model": model, "model_ema": ModelEmaV3(model, decay=0.5)})
    with torch.no_grad():
        model.head.bias.add_(1)
    torch.save({"state_dict": module.state_dict()}, tmp_path / "x.ckpt")
    loaded = load_checkpoint(tmp_path / "x.ckpt")
    assert torch.equal(loaded.weights["head.bias"], torch.zeros(7))
    assert "the averaged weights under 'model_ema.module.' were taken, not those under 'model.'" in loaded.remarks[0]


@pytest.mark.parametrize("prefixes", [("student.", "teacher."), ("generator.net.", "critic.net."), ("", "frozen.")])
def test_two_mixers_are_a_question_that_names_both(prefixes: tuple[str, str], tmp_path: Path) -> None:
    first, second = prefixes
    torch.save(under(first) | under(second, scaled(2)), tmp_path / "x.ckpt")
    words = (f"2 Mixers, under the prefixes {first!r} and {second!r}; which of them is meant?", ".removeprefix(")
    with refused(tmp_path / "x.ckpt", *words):
        load_checkpoint(tmp_path / "x.ckpt")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda state: state.pop("model.blocks.1.norm2.bias"), "missing: blocks.1.norm2.bias"),
        (
            lambda state: state.update({"model.head_dist.weight": torch.ones(7, 24)}),
            "unexpected: head_dist.weight (7, 24)",
        ),
        (lambda state: state.update({"model.norm.weight": torch.ones(5)}), "norm.weight is (5,), expected (24,)"),
    ],
    ids=["a weight is missing", "an unknown name inside the prefix", "a shape"],
)
def test_a_mixer_that_is_not_whole_is_refused_with_what_differs(
    change: Callable[[dict[str, Tensor]], object], words: str, tmp_path: Path
) -> None:
    state = under("model.")
    change(state)
    torch.save(state, tmp_path / "x.ckpt")
    with refused(tmp_path / "x.ckpt", words):
        load_checkpoint(tmp_path / "x.ckpt")


def test_an_unknown_name_next_to_names_without_a_prefix_is_refused(tmp_path: Path) -> None:
    save_file(STATE | {"head_dist.weight": torch.ones(7, 24)}, tmp_path / "x.safetensors")
    with refused(tmp_path / "x.safetensors", "unexpected: head_dist.weight (7, 24)"):
        load_checkpoint(tmp_path / "x.safetensors")
