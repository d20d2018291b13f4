"""Every container of weights: told apart by content, read within its size of memory, and never another kind of error."""

import errno
import random
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from tests.checkpoints.refusal import MIB, PeakMemory

from allmlp import CheckpointError
from allmlp.checkpoints.containers.open import open_weights
from allmlp.checkpoints.containers.weight_file import guarded

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


def save_torch_legacy(state: State, path: Path) -> None:
    torch.save(state, path, _use_new_zipfile_serialization=False)


CONTAINERS: dict[str, Callable[[State, Path], object]] = {
    "npz": save_npz,
    "npz compressed": save_npz_compressed,
    "safetensors": save_file,
    "torch": torch.save,
    "torch training": save_training,
    "torch before 1.6": save_torch_legacy,
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


def damaged(content: bytes, generator: random.Random) -> bytes:
    changed = bytearray(content)
    place = generator.randrange(len(content))
    match generator.choice(["bits", "cut", "bytes", "insertion"]):
        case "cut":
            del changed[place:]
        case "insertion":
            changed[place:place] = generator.randbytes(generator.randint(1, 8))
        case "bytes":
            changed[place : place + 8] = generator.randbytes(generator.randint(1, 8))
        case _:
            for _ in range(generator.randint(1, 3)):
                changed[generator.randrange(len(content))] ^= 1 << generator.randrange(8)
    return bytes(changed)


@pytest.mark.parametrize("container", CONTAINERS)
def test_damage_ends_in_a_checkpoint_error_or_in_numbers(tmp_path: Path, container: str) -> None:
    state = make_state()
    CONTAINERS[container](state, tmp_path / "sound")
    content, path = (tmp_path / "sound").read_bytes(), tmp_path / "damaged"
    for seed in range(250):
        path.write_bytes(damaged(content, random.Random(seed)))
        try:
            file = open_weights(path)
            weights = file.read()
        except CheckpointError as error:
            assert str(path) in str(error), seed
            continue
        # safetensors and torch have no checksum of the numbers; NumPy's archives have one of all that a member holds.
        assert {name: tuple(weight.shape) for name, weight in weights.items()} == file.shapes, seed
        assert all(weight.is_floating_point() for weight in weights.values()), seed
        if container.startswith("npz"):
            values = zip(weights.values(), state.values(), strict=True)
            assert all(torch.equal(weight, expected) for weight, expected in values), seed


@pytest.mark.parametrize("container", CONTAINERS)
def test_weights_take_their_size_of_memory(tmp_path: Path, container: str) -> None:
    # Small numbers of random bits: nothing to compress.
    state = {f"w{index}": torch.rand(512, 1024) for index in range(8)}
    CONTAINERS[container](state, tmp_path / "weights")
    size = sum(weight.nbytes for weight in state.values())
    CONTAINERS[container](make_state(), tmp_path / "small")
    open_weights(tmp_path / "small").read()  # what the libraries take once
    memory = PeakMemory()
    weights = open_weights(tmp_path / "weights").read()
    assert sum(float(weight.sum()) for weight in weights.values()) > 0  # mapped pages count when they are touched
    assert memory.above_start() < 1.15 * size + 2 * MIB


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (MemoryError(), "not enough memory"),
        (ImportError("libtorch_cpu.so: failed to map segment from shared object"), "not enough memory"),
        (
            RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes"),
            "not enough memory",
        ),
        (OSError(errno.EMFILE, "Too many open files"), "oo many"),
        (RuntimeError("can't start new thread"), "no further thread"),
    ],
    ids=["memory", "linker", "torch", "files", "threads"],
)
def test_what_the_machine_lacks_is_no_damage_of_the_file(error: Exception, words: str, tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    with pytest.raises(CheckpointError, match=words) as caught, guarded(path):
        raise error
    assert str(caught.value).startswith(f"{path}: could not be read")
    assert "damaged" not in str(caught.value) and "download" not in str(caught.value)
