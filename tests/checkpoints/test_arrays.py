"""Weights as NumPy arrays: those that torch reads, and in float32, without torch for our own folders."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.builders import tiny_checkpoint

from allmlp import CheckpointError, load_checkpoint, save_checkpoint
from allmlp.checkpoints import FORMATS, as_arrays, load_arrays


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_a_folder_of_ours_is_read_as_torch_reads_it(dtype: torch.dtype, tmp_path: Path) -> None:
    path = save_checkpoint(tiny_checkpoint(dtype=dtype, temperature=2.0), tmp_path / "saved")
    loaded, expected = load_arrays(path), load_checkpoint(path)
    assert loaded.description == expected.description
    assert loaded.weights.keys() == expected.weights.keys()
    for name, weight in expected.weights.items():
        assert loaded.weights[name].dtype == np.float32
        np.testing.assert_array_equal(loaded.weights[name], weight.float().numpy())


def test_any_other_source_is_read_as_well(tmp_path: Path) -> None:
    checkpoint = tiny_checkpoint(patch_size=8, gelu="erf")
    FORMATS["google"].save(checkpoint, tmp_path / "w.npz")
    loaded, expected = load_arrays(tmp_path / "w.npz"), load_checkpoint(tmp_path / "w.npz")
    assert (loaded.description, loaded.remarks) == (expected.description, expected.remarks)
    assert loaded.remarks
    np.testing.assert_array_equal(loaded.weights["head.weight"], as_arrays(expected).weights["head.weight"])


def test_a_folder_of_ours_needs_no_torch(tmp_path: Path) -> None:
    path = save_checkpoint(tiny_checkpoint(dtype=torch.bfloat16), tmp_path / "saved")
    code = "import sys; from allmlp.checkpoints import load_arrays; load_arrays(sys.argv[1]); print('torch' in sys.modules)"
    run = subprocess.run(
        [sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True, timeout=60
    )
    assert run.stdout.strip() == "False"


@pytest.mark.parametrize("damage", ["flipped", "cut", "not finite"])
def test_damage_is_found_as_by_load_checkpoint(damage: str, tmp_path: Path) -> None:
    checkpoint = tiny_checkpoint()
    if damage == "not finite":
        checkpoint = checkpoint.replace(weights={**checkpoint.weights, "head.bias": torch.tensor([0, np.nan, 0])})
    path = save_checkpoint(checkpoint, tmp_path / "saved")
    weights = path / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-3] ^= damage == "flipped"
    weights.write_bytes(content[: len(content) - 9 * (damage == "cut")])
    messages = []
    for load in (load_checkpoint, load_arrays):
        with pytest.raises(CheckpointError) as caught:
            load(path)
        messages.append(str(caught.value))
    assert messages[0] == messages[1]
