"""What may happen to a save, in numbers: each function returns how many cases it tried and how many passed."""

import itertools
import os
import random
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.training.snapshots.crash_points import Disk, Image, Operation, image_of, lay_out, recorded
from torch import Tensor

from allmlp.training.snapshots.store import Snapshot, SnapshotStore

Counts = tuple[int, int]  # cases, passed

FILES = ("manifest.json", "state.json", "state.safetensors")


def tensors_of(step: int) -> dict[str, Tensor]:
    """Return what a model, an optimizer and a generator might hold at a step, of many kinds."""
    generator = torch.Generator().manual_seed(step)
    return {
        "model.weight": torch.randn(7, 5, generator=generator),
        "average.weight": torch.randn(3, 2, 2, generator=generator).bfloat16(),
        "optimizer.step": torch.tensor(float(step)),
        "generator": torch.randint(0, 256, (64,), generator=generator, dtype=torch.uint8),
        "seen": torch.tensor(step, dtype=torch.int64),
    }


def facts_of(step: int) -> dict[str, Any]:
    """Return facts that tell of a step."""
    return {"digest": f"{step:x}" * 8, "best": {"step": step, "top1": step / 7}, "note": "тапки"}


def same_tensors(left: Mapping[str, Tensor], right: Mapping[str, Tensor]) -> bool:
    """Whether names, dtypes, shapes and bits are the same."""
    return left.keys() == right.keys() and all(
        left[name].dtype == right[name].dtype
        and left[name].shape == right[name].shape
        and _bits(left[name]) == _bits(right[name])
        for name in left
    )


def _bits(tensor: Tensor) -> bytes:
    return tensor.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()


def is_save_of(state: Snapshot | None, step: int) -> bool:
    """Whether a state is all of what `make_saves` saved at a step, and nothing else."""
    if state is None or state.step != step or state.metadata != facts_of(step):
        return False
    return same_tensors(state.tensors, tensors_of(step))


def make_saves(directory: Path, *steps: int) -> SnapshotStore:
    """Save at these steps; any message fails the test."""
    saves = SnapshotStore(directory, keep_every=None, warn=_fail)
    for step in steps:
        saves.write(step, tensors_of(step), facts_of(step))
    saves.wait()
    return saves


def _fail(line: str) -> None:
    raise AssertionError(line)


def latest(directory: Path) -> tuple[int | None, list[str]]:
    """Return the step of the newest save that another process finds, and the messages that it gets; the save must be whole."""
    lines: list[str] = []
    state = SnapshotStore(directory, keep_every=None, warn=lines.append).latest()
    assert state is None or is_save_of(state, state.step)
    return (None if state is None else state.step), lines


def names(folder: Path) -> list[str]:
    """Return what is in a folder."""
    return sorted(path.name for path in folder.iterdir())


# Crash points


def recorded_save(run: Path, *, before: tuple[int, ...], step: int) -> tuple[Image, list[Operation]]:
    """Return what lay in `run` before a save, and the operations of the save."""
    run.mkdir()
    make_saves(run / "resume", *before)
    start = image_of(run)
    with recorded(run) as operations:
        make_saves(run / "resume", step)
    return start, operations


def crash_images(start: Image, operations: list[Operation]) -> Iterator[tuple[int, Image]]:
    """Give what a power cut after each number of operations may leave."""
    for number in range(len(operations) + 1):
        disk = Disk(start)
        for operation in operations[:number]:
            disk.do(operation)
        for image in disk.images():
            yield number, image


def crash_points(
    folder: Path,
    *,
    before: tuple[int, ...] = (100, 200),
    step: int = 300,
    forgotten: Callable[[Operation], bool] = lambda operation: False,
) -> Counts:
    """Cut the power after every operation of a save; those that are `forgotten` never happened.

    Passed: the save before or the new one is found, whole, with nothing to complain about; the new one once its name is
    on the disk; and the step can be saved and found again.
    """
    start, operations = recorded_save(folder / "run", before=before, step=step)
    operations = [operation for operation in operations if not forgotten(operation)]
    old, commit = before[-1] if before else None, commit_point(operations)
    cases = passed = 0
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda handle: None)  # what is laid out need not survive a second cut
        for number, image in crash_images(start, operations):
            cases += 1
            passed += _survives(folder / str(cases), image, old, step, committed=number > commit)
    return cases, passed


def commit_point(operations: list[Operation]) -> int:
    """Return which operation makes the new save safe: the sync of the folder above after the first rename."""
    renamed = next(number for number, operation in enumerate(operations) if operation.name == "rename")
    assert operations[renamed + 1].name == "sync_folder"
    return renamed + 1


def _survives(run: Path, image: Image, old: int | None, new: int, *, committed: bool) -> bool:
    lay_out(image, run)
    lines: list[str] = []
    saves = SnapshotStore(run / "resume", keep_every=None, warn=lines.append)
    state = saves.latest()
    found = is_save_of(state, new) or (not committed and (is_save_of(state, old) if old else state is None))
    saves.write(new, tensors_of(new), facts_of(new))
    again = is_save_of(saves.latest(), new)
    left = [path.name for path in (run / "resume").iterdir() if not path.name.startswith("step-")]
    return found and again and not lines and not left


# Damage


def bit_flips(folder: Path, count: int = 1000, seed: int = 0) -> Counts:
    """Flip one bit at a time, a third of them in each file. Passed: detected, and the save before is used."""
    draws = random.Random(seed)

    def flip(content: bytes) -> bytes:
        place = draws.randrange(8 * len(content))
        return _flipped(content, place)

    return _damages(folder, [(name, flip) for name in itertools.islice(itertools.cycle(FILES), count)])


def manifest_bits(folder: Path) -> Counts:
    """Flip every bit of the manifest, the one file that no digest covers."""
    make_saves(folder / "sizes", 100, 200)
    num_bits = 8 * (folder / "sizes" / "step-000000200" / "manifest.json").stat().st_size
    return _damages(
        folder, [("manifest.json", lambda content, place=place: _flipped(content, place)) for place in range(num_bits)]
    )


def truncations(folder: Path, count: int = 200, seed: int = 0) -> Counts:
    """Cut a file short, a third of them each; the first cuts take one byte, the second leave none."""
    draws = random.Random(seed)
    cuts: list[Callable[[bytes], bytes]] = [lambda content: content[:-1]] * 3 + [lambda content: b""] * 3
    cuts += [lambda content: content[: draws.randrange(len(content))]] * (count - len(cuts))
    return _damages(folder, list(zip(itertools.cycle(FILES), cuts, strict=False)))


def _flipped(content: bytes, place: int) -> bytes:
    byte, bit = divmod(place, 8)
    return content[:byte] + bytes([content[byte] ^ 1 << bit]) + content[byte + 1 :]


def _damages(folder: Path, damages: list[tuple[str, Callable[[bytes], bytes]]]) -> Counts:
    directory = folder / "resume"
    make_saves(directory, 100, 200)
    sound = image_of(directory)
    passed = 0
    for name, damage in damages:
        path = directory / "step-000000200" / name
        whole = path.read_bytes()
        damaged = damage(whole)
        path.write_bytes(damaged)
        passed += damaged != whole and _falls_back(directory, name, damaged)
        if not path.parent.exists():
            (directory / "damaged-step-000000200").rename(path.parent)
        path.write_bytes(whole)
        assert image_of(directory) == sound  # so that the next case starts as this one did
    return len(damages), passed


def _falls_back(directory: Path, name: str, damaged: bytes) -> bool:
    lines: list[str] = []
    state = SnapshotStore(directory, keep_every=None, warn=lines.append).latest()
    aside = directory / "damaged-step-000000200"
    told = len(lines) == 1 and str(directory / "step-000000200") in lines[0] and "\n" not in lines[0]
    return is_save_of(state, 100) and told and aside.exists() and (aside / name).read_bytes() == damaged
