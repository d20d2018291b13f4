"""Files of torch.save from before 1.6: torch.load is the oracle, and what is damaged or hostile ends in one clear error."""

import argparse
import collections
import io
import os
import pickle
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.builders import GOLDEN_CONFIG, random_weights
from tests.checkpoints.containers.torch_files import Calls, assert_same, make_state
from tests.checkpoints.refusal import MIB, PeakMemory, refused
from tests.reference.other_layouts import timm_name
from torch import nn

from allmlp import load_checkpoint
from allmlp.checkpoints.containers.open import open_weights


def legacy(value: Any, protocol: int = 2) -> bytes:
    buffer = io.BytesIO()
    torch.save(value, buffer, _use_new_zipfile_serialization=False, pickle_protocol=protocol)
    return buffer.getvalue()


def written(tmp_path: Path, value: Any, protocol: int = 2) -> Path:
    (tmp_path / "a.pth").write_bytes(legacy(value, protocol))
    return tmp_path / "a.pth"


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16, torch.float64])
def test_a_state_dict_is_what_torch_loads(tmp_path: Path, dtype: torch.dtype, protocol: int) -> None:
    path = written(tmp_path, {name: weight.to(dtype) for name, weight in make_state().items()}, protocol)
    assert_same(open_weights(path).read(), torch.load(path, weights_only=protocol == 2))


def test_views_and_shared_storages_are_what_torch_loads(tmp_path: Path) -> None:
    base = torch.randn(6, 8)
    state = {
        "tied": base, "tied too": base, "transposed": base.t(), "rows": base[2:4], "columns": base[:, 1::3],
        "one": base[3, 4], "repeated": base[0].expand(5, 8), "scalar": torch.tensor(3.5), "empty": torch.zeros(0, 4),
        "channels last": torch.randn(2, 3, 4, 5).to(memory_format=torch.channels_last), "a part": torch.randn(99)[90:],
    }  # fmt: skip
    path = written(tmp_path, state)
    weights = open_weights(path).read()
    assert_same(weights, torch.load(path, weights_only=True))
    weights["tied"][3, 4] = 7
    assert weights["one"] == 7


def wrapped(state: dict[str, torch.Tensor], how: str) -> Any:
    if how == "DataParallel":
        return collections.OrderedDict((f"module.{name}", weight) for name, weight in state.items())
    if how == "parameters":
        return {name: nn.Parameter(weight) for name, weight in state.items()}
    if how == "timm":
        options = argparse.Namespace(model="mixer_b16_224", lr=0.1, mean=None, opt_betas=(0.9, 0.999))
        optimizer = {"state": {0: {"step": 3, "exp_avg": torch.randn(7)}}, "param_groups": [{"lr": 0.1, "params": [0]}]}
        return {
            "epoch": 3,
            "arch": "mixer",
            "state_dict": state,
            "optimizer": optimizer,
            "args": options,
            "metric": 7.5,
        }
    return state


@pytest.mark.parametrize("how", ["plain", "DataParallel", "parameters", "timm"])
def test_what_training_scripts_wrote_loads_as_a_mixer(how: str, tmp_path: Path) -> None:
    weights = random_weights(GOLDEN_CONFIG)
    path = written(tmp_path, wrapped({timm_name(name): weight for name, weight in weights.items()}, how))
    loaded = load_checkpoint(path)
    assert all(torch.equal(loaded.weights[name], weight) for name, weight in weights.items())


def test_an_optimizers_state_stays_on_the_disk(tmp_path: Path) -> None:
    optimizer = {index: torch.zeros(2048, 1024) for index in range(4)}
    path = written(tmp_path, {"model": make_state(), "optimizer": {"state": optimizer}})
    del optimizer
    memory = PeakMemory()
    assert_same(open_weights(path).read(), make_state())
    assert memory.above_start() < 12 * MIB


# Damage and hostile files


def test_what_the_tests_assemble_is_what_torch_loads(tmp_path: Path) -> None:
    parts = split(legacy(make_state()))
    (tmp_path / "a.pth").write_bytes(joined(parts))
    assert_same(torch.load(tmp_path / "a.pth", weights_only=True), make_state())


def split(content: bytes) -> list[bytes]:
    """Return the five pickles and the storages."""
    file = io.BytesIO(content)
    parts = []
    for _ in range(5):
        start = file.tell()
        if len(parts) == 3:
            while file.read(1) != b"]":  # the list of keys begins with protocol and "]"
                pass
            file.seek(-3, os.SEEK_CUR)
        else:
            pickle.load(file)
        parts.append(content[start : file.tell()])
    return [*parts, content[file.tell() :]]


def joined(parts: list[bytes], **changes: bytes) -> bytes:
    names = ("magic", "version", "sizes", "value", "keys", "storages")
    return b"".join(changes.get(name, part) for name, part in zip(names, parts, strict=True))


def changed(**changes: bytes) -> Callable[[], bytes]:
    return lambda: joined(split(legacy(make_state())), **changes)


def first_count(content: bytes, count: int) -> bytes:
    """State another number of elements of the first storage."""
    parts = split(content)
    return joined(parts, storages=struct.pack("<q", count) + parts[5][8:])


CASES: dict[str, tuple[Callable[[], bytes], tuple[str, ...]]] = {
    "only the magic number": (lambda: legacy(make_state())[:15], ("cut short",)),
    "cut in the pickle": (lambda: legacy(make_state())[:200], ("cut short",)),
    "cut in a count": (lambda: joined(split(legacy(make_state())), storages=b"\1\2"), ("damaged or cut short",)),
    "cut in a storage": (lambda: legacy(make_state())[:-1], ("cut short",)),
    "another version": (changed(version=pickle.dumps(1002, 2)), ("version 1002 of torch's format from before 1.6",)),
    "keys of nothing": (changed(keys=pickle.dumps([], 2)), ("does not match its tensors",)),
    "keys of another file": (changed(keys=pickle.dumps(["1", "2", "3"], 2)), ("'1', which no tensor uses",)),
    "keys that are numbers": (changed(keys=pickle.dumps([1, 2, 3], 2)), ("which no tensor uses",)),
    "a storage of 2^62 numbers": (
        lambda: first_count(legacy(make_state()), 1 << 62),
        ("4,611,686,018,427,387,904 elements instead of",),
    ),
    "a storage of a negative size": (lambda: first_count(legacy(make_state()), -1), ("-1 elements instead of",)),
    "a call in place of the weights": (
        changed(value=pickle.dumps(Calls(os.system, "touch canary"), 2)),
        ("it would call",),
    ),
    "a call in the sizes of types": (
        changed(sizes=pickle.dumps(Calls(eval, "1"), 2)),
        ("builtins.eval", "nothing was run"),
    ),
    "a whole module": (lambda: legacy(nn.Linear(2, 2)), ("torch.nn.modules.linear.Linear", "model.state_dict()")),
    "5 MiB of nothing": (changed(sizes=b"\x80\x02" + b"N0" * (5 * MIB // 2) + b"N."), ("more than 250,000 opcodes",)),
    "one number repeated to 4 TB": (
        lambda: legacy({"a": torch.zeros(1).expand(10**6, 10**6)}),
        ("whose tensors would take 4,000,000,000,000",),
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_a_damaged_or_hostile_file_is_refused_by_name(
    case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make, words = CASES[case]
    path = tmp_path / "weights.pth"
    path.write_bytes(make())
    monkeypatch.chdir(tmp_path)
    with refused(path, *words):
        open_weights(path).read()
    assert [entry.name for entry in tmp_path.iterdir()] == ["weights.pth"]
