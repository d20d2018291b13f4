"""Saves: what was saved is found again, whole, whatever happened in between."""

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from tests.reliability import saves_matrix
from tests.reliability.saves_matrix import facts_of, latest, make_saves, names, same_tensors, tensors_of

from allmlp.training.snapshots.store import SnapshotStore


def write(saves: SnapshotStore, step: int) -> None:
    saves.write(step, tensors_of(step), facts_of(step))


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "run" / "resume"


# What is saved is what is found


def test_nothing_is_created_before_the_first_save(directory: Path) -> None:
    assert SnapshotStore(directory, keep_every=None, warn=pytest.fail).latest() is None
    assert not directory.parent.exists()


def test_the_newest_save_is_found(directory: Path) -> None:
    make_saves(directory, 7, 1_234_567_890, 9)
    assert latest(directory) == (1_234_567_890, [])


def test_tensors_of_every_kind_come_back_bit_for_bit(directory: Path) -> None:
    grid = torch.arange(24.0).reshape(4, 6)
    odd = torch.tensor([0.0, -0.0, float("nan"), float("inf"), 1e-45, -3.4e38])
    tensors = {
        "all.float32": odd,
        **{str(dtype): odd.to(dtype) for dtype in (torch.bfloat16, torch.float16, torch.float64)},
        **{
            str(dtype): torch.tensor([-(2**7), 2**7 - 1], dtype=dtype)
            for dtype in (torch.int8, torch.int16, torch.int32)
        },
        "int64": torch.tensor([-(2**63), 2**63 - 1]),
        "uint8": torch.arange(256, dtype=torch.uint8),
        "bool": torch.tensor([True, False]),
        "0-d": torch.tensor(3.5, dtype=torch.bfloat16),
        "empty": torch.empty(0, 3),
        "transposed": grid.t(),
        "every other": grid[::2, 1::3],
        "expanded": torch.tensor([1.0, 2.0]).expand(3, 2),
        "shared": grid,
        "shared again": grid,
        "a part of it": grid[1:3],
        "a parameter, тапки": torch.nn.Parameter(grid.clone()),
    }
    saves = SnapshotStore(directory, keep_every=None, warn=pytest.fail)
    saves.write(1, tensors, {})
    state = saves.latest()
    assert state is not None
    assert same_tensors(state.tensors, {name: tensor.detach() for name, tensor in tensors.items()})
    assert same_tensors(load_file(directory / "step-000000001" / "state.safetensors"), state.tensors)


def test_the_tensors_that_are_found_are_the_callers_own(directory: Path) -> None:
    state = make_saves(directory, 1).latest()
    assert state is not None
    for tensor in state.tensors.values():
        tensor.zero_()
    (directory / "step-000000001" / "state.safetensors").write_bytes(b"")  # a mapped file would end the process
    assert not state.tensors["model.weight"].any()


def test_a_save_without_tensors_is_one(directory: Path) -> None:
    saves = SnapshotStore(directory, keep_every=None, warn=pytest.fail)
    saves.write(0, {}, {})
    state = saves.latest()
    assert state is not None
    assert (state.step, state.tensors, state.metadata) == (0, {}, {})


def test_facts_may_change_after_they_were_given(directory: Path) -> None:
    saves = SnapshotStore(directory, keep_every=None, warn=pytest.fail)
    facts = {"history": [1]}
    saves.write(1, {}, facts)
    facts["history"].append(2)
    state = saves.latest()
    assert state is not None
    assert state.metadata == {"history": [1]}


def test_the_manifest_says_what_other_tools_find(directory: Path) -> None:
    make_saves(directory, 100)
    save_folder = directory / "step-000000100"
    manifest = json.loads((save_folder / "manifest.json").read_bytes())
    contents = {name: (save_folder / name).read_bytes() for name in ("state.safetensors", "state.json")}
    assert manifest == {
        "format": "allmlp save",
        "version": 1,
        "step": 100,
        "files": {
            name: {"size": len(content), "sha256": hashlib.sha256(content).hexdigest()}
            for name, content in contents.items()
        },
    }
    assert names(save_folder) == ["manifest.json", "state.json", "state.safetensors"]


@pytest.mark.parametrize(
    ("tensors", "facts"),
    [
        ({"x": torch.zeros(2, dtype=torch.complex64)}, {}),
        ({"x": torch.zeros(2, device="meta")}, {}),
        ({"x": torch.eye(2).to_sparse()}, {}),
        ({"__metadata__": torch.zeros(2)}, {}),
        ({"\udce9": torch.zeros(2)}, {}),
        ({}, {"best": float("nan")}),
        ({}, {"best": torch.zeros(2)}),
        ({}, {"log": "x" * (65 << 20)}),
    ],
)
def test_what_could_not_be_read_back_is_a_bug_of_the_caller(directory: Path, tensors: Any, facts: Any) -> None:
    with pytest.raises((ValueError, TypeError)):
        SnapshotStore(directory, keep_every=None, warn=pytest.fail).write(1, tensors, facts)
    assert not directory.exists()


# Retention


@pytest.mark.parametrize(
    ("keep_every", "kept"), [(None, [7, 8]), (3, [3, 6, 7, 8]), (4, [4, 7, 8]), (1, [*range(1, 9)])]
)
def test_the_newest_two_and_every_nth_are_kept(directory: Path, keep_every: int | None, kept: list[int]) -> None:
    saves = SnapshotStore(directory, keep_every=keep_every, warn=pytest.fail)
    for step in range(1, 9):
        write(saves, step)
    saves.wait()
    assert names(directory) == [f"step-{step:09d}" for step in kept]


def test_a_damaged_save_is_none_of_the_two_that_are_kept(directory: Path) -> None:
    make_saves(directory, 1, 2)
    (directory / "step-000000002" / "state.json").write_bytes(b"{}")
    lines: list[str] = []
    saves = SnapshotStore(directory, keep_every=None, warn=lines.append)
    for step in (3, 4):
        write(saves, step)
        saves.wait()
        assert names(directory)[0] == "damaged-step-000000002"
        assert names(directory)[1:] == [f"step-{kept:09d}" for kept in ((1, 3) if step == 3 else (3, 4))]
    (line,) = lines
    assert f"{directory / 'step-000000002'}: damaged" in line


def test_a_step_that_is_saved_is_not_saved_again(directory: Path) -> None:
    make_saves(directory, 1, 2)
    before = (directory / "step-000000002").stat().st_ino
    make_saves(directory, 2)
    assert (directory / "step-000000002").stat().st_ino == before


def test_a_step_whose_save_is_damaged_is_saved_again(directory: Path) -> None:
    make_saves(directory, 1, 2)
    (directory / "step-000000002" / "manifest.json").unlink()
    lines: list[str] = []
    saves = SnapshotStore(directory, keep_every=None, warn=lines.append)
    write(saves, 2)
    saves.wait()
    assert names(directory) == ["damaged-step-000000002", "step-000000001", "step-000000002"]
    assert latest(directory) == (2, [])
    assert len(lines) == 1


def test_what_dead_processes_left_is_removed_and_other_peoples_files_stay(directory: Path) -> None:
    make_saves(directory, 1)
    for name in (".step-000000002.0a1b2c3d.part", ".step-000000000.0a1b2c3d.gone"):
        (directory / name / "within").mkdir(parents=True)
        (directory / name / "within" / "state.json").write_bytes(b"half")
    (directory / "notes.txt").write_bytes(b"mine")
    (directory / ".step-000000009.part").mkdir()
    assert latest(directory) == (1, [])
    make_saves(directory, 3)
    assert names(directory) == [".step-000000009.part", "notes.txt", "step-000000001", "step-000000003"]


def test_names_that_are_no_saves_are_not_looked_at(directory: Path) -> None:
    make_saves(directory, 1)
    for name in (
        "step-2",
        "step-000000002.bak",
        "step-00000000x",
        "step-٠٠٠٠٠٠٠٠٩",
        "step-0000000005",
        "step-" + "9" * 200,
    ):
        (directory / name).mkdir()
    assert latest(directory) == (1, [])


# Crash points


def test_a_power_cut_at_any_operation_leaves_a_valid_save(tmp_path: Path) -> None:
    cases, passed = saves_matrix.crash_points(tmp_path)
    assert cases == passed > 100


@pytest.mark.slow
@pytest.mark.parametrize("before", [(), (100,)])
def test_a_power_cut_in_the_first_saves_leaves_a_valid_one_or_none(tmp_path: Path, before: tuple[int, ...]) -> None:
    cases, passed = saves_matrix.crash_points(tmp_path, before=before)
    assert cases == passed > 80


@pytest.mark.parametrize("name", ["sync_file", "sync_folder"])
def test_a_save_that_forgot_to_sync_would_be_found_out(tmp_path: Path, name: str) -> None:
    cases, passed = saves_matrix.crash_points(
        tmp_path, forgotten=lambda operation: operation.name == name and ".part" in str(operation.path)
    )
    assert passed < cases
