"""Every container of weights: told apart by content, read within its size of memory, and never another kind of error."""

import functools
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file
from tests.checkpoints.refusal import MIB, PeakMemory

from allmlp import CheckpointError
from allmlp.checkpoints.containers.open import open_weights

State = dict[str, torch.Tensor]


def make_state() -> State:
    generator = torch.Generator().manual_seed(0)
    return {
        "stem.weight": torch.randn(2, 3, generator=generator),
        "norm": torch.randn(5, generator=generator).bfloat16().float(),
        "head": torch.randn(3, 2, generator=generator),
    }


def save_npz(state: State, path: Path) -> None:
    with path.open("wb") as file:  # np.savez would add .npz to the name
        np.savez(file, **{name: weight.numpy() for name, weight in state.items()})


def save_npz_compressed(state: State, path: Path) -> None:
    with path.open("wb") as file:
        np.savez_compressed(file, **{name: weight.numpy() for name, weight in state.items()})


def save_training(state: State, path: Path) -> None:
    torch.save({"epoch": 3, "optimizer": {"state": {}}, "state_dict": state}, path)


CONTAINERS: dict[str, Callable[[State, Path], object]] = {
    "npz": save_npz,
    "npz compressed": save_npz_compressed,
    "safetensors": save_file,
    "torch": torch.save,
    "torch training": save_training,
}


@pytest.mark.parametrize("name", ["weights.npz", "weights.safetensors", "weights.pth", "weights"])
@pytest.mark.parametrize("container", CONTAINERS)
def test_the_container_is_known_by_its_content(tmp_path: Path, container: str, name: str) -> None:
    state = make_state()
    CONTAINERS[container](state, tmp_path / name)
    file = open_weights(tmp_path / name)
    weights = file.read()
    assert file.path == tmp_path / name
    assert file.shapes == {key: tuple(weight.shape) for key, weight in state.items()}
    assert all(torch.equal(weights[key], weight) for key, weight in state.items())


@functools.cache
def sound(container: str) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        CONTAINERS[container](make_state(), Path(folder) / "weights")
        return (Path(folder) / "weights").read_bytes()


@pytest.mark.parametrize("container", CONTAINERS)
@settings(
    max_examples=200, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_damage_ends_in_a_checkpoint_error_or_in_numbers(tmp_path: Path, container: str, data: st.DataObject) -> None:
    content = bytearray(sound(container))
    kind = data.draw(st.sampled_from(["bits", "cut", "bytes", "insertion"]))
    place = data.draw(st.integers(0, len(content) - 1))
    if kind == "cut":
        del content[place:]
    elif kind == "insertion":
        content[place:place] = data.draw(st.binary(min_size=1, max_size=8))
    elif kind == "bytes":
        content[place : place + 8] = data.draw(st.binary(min_size=1, max_size=8))
    else:
        for position in data.draw(st.lists(st.integers(0, len(content) - 1), min_size=1, max_size=3)):
            content[position] ^= 1 << data.draw(st.integers(0, 7))
    path = tmp_path / "damaged"
    path.write_bytes(content)
    try:
        file = open_weights(path)
        weights = file.read()
    except CheckpointError as error:
        assert str(path) in str(error)
        return
    # safetensors and torch have no checksum of the numbers; NumPy's archives have one of all that a member holds.
    assert {name: tuple(weight.shape) for name, weight in weights.items()} == file.shapes
    assert all(weight.is_floating_point() for weight in weights.values())
    if container.startswith("npz"):
        state = list(make_state().values())
        assert len(weights) == len(state)
        assert all(torch.equal(weight, expected) for weight, expected in zip(weights.values(), state, strict=True))


@pytest.mark.parametrize("container", CONTAINERS)
def test_weights_take_their_size_of_memory(tmp_path: Path, container: str) -> None:
    # Small numbers of random bits: nothing to compress.
    state = {f"w{index}": torch.rand(512, 1024) for index in range(16)}
    CONTAINERS[container](state, tmp_path / "weights")
    size = sum(weight.nbytes for weight in state.values())
    CONTAINERS[container](make_state(), tmp_path / "small")
    open_weights(tmp_path / "small").read()  # what the libraries take once
    memory = PeakMemory()
    weights = open_weights(tmp_path / "weights").read()
    assert sum(float(weight.sum()) for weight in weights.values()) > 0  # mapped pages count when they are touched
    assert memory.above_start() < 1.15 * size + 2 * MIB
