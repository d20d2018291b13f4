"""Layouts of names: each is a bijection, the authors' and timm's own, and what wraps a model's names is taken off."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from safetensors.torch import save_file
from tests.builders import GOLDEN_CONFIG, random_weights
from tests.checkpoints.refusal import refused
from tests.reference.other_layouts import linen_name, pre_linen_name, timm_name
from torch import Tensor

from allmlp import CheckpointError, load_checkpoint
from allmlp.checkpoints.naming.schemes import NAMING_SCHEMES, NamingScheme
from allmlp.model import parameter_shapes

REFERENCE: dict[str, Callable[[str], str]] = {
    "allmlp": str,
    "timm": timm_name,
    "google linen": linen_name,
    "google pre-linen": pre_linen_name,
}


def in_timms_names(prefix: str = "") -> dict[str, Tensor]:
    return {f"{prefix}{timm_name(name)}": weight for name, weight in random_weights(GOLDEN_CONFIG).items()}


@pytest.mark.parametrize("layout", NAMING_SCHEMES, ids=lambda layout: layout.name)
def test_names_are_those_of_the_code_and_lead_back(layout: NamingScheme) -> None:
    for name in parameter_shapes(GOLDEN_CONFIG):
        assert layout.theirs(name) == REFERENCE[layout.name](name)
        assert layout.ours(layout.theirs(name)) == name


def test_a_weight_with_and_without_a_prefix_is_refused(tmp_path: Path) -> None:
    state = in_timms_names()
    save_file({**state, "module.head.bias": state["head.bias"].clone()}, tmp_path / "x.safetensors")
    with pytest.raises(CheckpointError, match=r"x\.safetensors: 'head\.bias' occurs twice.*'module\.head\.bias'"):
        load_checkpoint(tmp_path / "x.safetensors")


def test_a_name_of_prefixes_alone_takes_no_time(tmp_path: Path) -> None:
    entry = {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}
    text = json.dumps({"module." * 290_000 + "x": entry}).encode()
    (tmp_path / "x.safetensors").write_bytes(len(text).to_bytes(8, "little") + text + bytes(4))
    with refused(tmp_path / "x.safetensors", "not an MLP-Mixer. Its weights are called module.module."):
        load_checkpoint(tmp_path / "x.safetensors")
