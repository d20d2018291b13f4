"""Damaged snapshots are detected, reported and kept; the previous one is used."""

import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save
from tests.reliability import saves_matrix
from tests.reliability.saves_matrix import latest, make_saves, names

from allmlp.errors import CheckpointError
from allmlp.io import atomic_write as files
from allmlp.training.snapshots.store import SnapshotStore


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "run" / "resume"


def test_bit_flips_are_all_detected(tmp_path: Path) -> None:
    assert saves_matrix.bit_flips(tmp_path, 100) == (100, 100)


def test_truncations_are_all_detected(tmp_path: Path) -> None:
    assert saves_matrix.truncations(tmp_path, 40) == (40, 40)


@pytest.mark.slow
def test_the_whole_matrix_of_damages_is_detected(tmp_path: Path) -> None:
    assert saves_matrix.bit_flips(tmp_path / "flips", 1000, seed=1) == (1000, 1000)
    assert saves_matrix.truncations(tmp_path / "cuts", 200, seed=1) == (200, 200)
    cases, passed = saves_matrix.manifest_bits(tmp_path / "manifest")
    assert cases == passed > 2000


def forge(folder: Path, *, facts: bytes, tensors: bytes) -> None:
    """Write a save whose manifest fits its files, whatever these are."""
    contents = {"state.safetensors": tensors, "state.json": facts}
    entries = {
        name: {"size": len(content), "sha256": hashlib.sha256(content).hexdigest()}
        for name, content in contents.items()
    }
    manifest = {"format": "allmlp save", "version": 1, "step": int(folder.name[5:]), "files": entries}
    folder.mkdir(parents=True)
    for name, content in {**contents, "manifest.json": files.to_json(manifest)}.items():
        (folder / name).write_bytes(content)


def header(text: str) -> bytes:
    return len(text).to_bytes(8, "little") + text.encode()


FACTS = b'{"step": 2, "facts": {}}'
FORGERIES: dict[str, tuple[bytes, bytes]] = {
    "deep JSON": (b"[" * 100_000, save({})),
    "deep facts": (b'{"step": 2, "facts": ' + b'{"a":' * 50_000 + b"1" + b"}" * 50_001, save({})),
    "a number of 5,000 digits": (b'{"step": ' + b"9" * 5000 + b"}", save({})),
    "not UTF-8": (b'{"step": 2, "facts": {"\xff": 1}}', save({})),
    "a list": (b"[]", save({})),
    "no facts": (b'{"step": 2}', save({})),
    "facts that are none": (b'{"step": 2, "facts": 3}', save({})),
    "another step": (b'{"step": 1, "facts": {}}', save({})),
    "facts of 65 MiB": (b" " * (65 << 20), save({})),
    "no tensors": (FACTS, b""),
    "a pickle": (FACTS, b"\x80\x04}."),
    "a header of 2^63 bytes": (FACTS, (1 << 63).to_bytes(8, "little")),
    "a header past the end": (FACTS, (1 << 20).to_bytes(8, "little") + b"{}"),
    "a deep header": (FACTS, header("[" * 100_000)),
    "an unknown dtype": (FACTS, header('{"x": {"dtype": "F99", "shape": [], "data_offsets": [0, 0]}}')),
    "a rare dtype": (FACTS, header('{"x": {"dtype": "F6_E2M3", "shape": [4], "data_offsets": [0, 3]}}') + b"\0\0\0"),
    "a huge shape": (
        FACTS,
        header('{"x": {"dtype": "F32", "shape": [4611686018427387904, 4], "data_offsets": [0, 0]}}'),
    ),
    "data past the end": (FACTS, header('{"x": {"dtype": "U8", "shape": [9], "data_offsets": [0, 9]}}')),
}


@pytest.mark.parametrize("kind", FORGERIES)
def test_a_save_that_only_looks_sound_is_damaged(directory: Path, kind: str) -> None:
    make_saves(directory, 1)
    facts, tensors = FORGERIES[kind]
    forge(directory / "step-000000002", facts=facts, tensors=tensors)
    step, (line,) = latest(directory)
    assert (step, len(line.splitlines())) == (1, 1)
    assert len(line) < 700
    assert names(directory) == ["damaged-step-000000002", "step-000000001"]


def test_forgeries_are_refused_for_what_is_wrong_with_them_only(directory: Path) -> None:
    forge(directory / "step-000000002", facts=FACTS, tensors=save({"x": torch.ones(3)}))
    state = SnapshotStore(directory, keep_every=None, warn=pytest.fail).latest()
    assert state is not None
    assert (state.step, state.tensors["x"].tolist(), state.metadata) == (2, [1, 1, 1], {})


def changed_manifest(change: Callable[[dict[str, Any]], Any]) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        path = folder / "manifest.json"
        values = json.loads(path.read_bytes())
        change(values)
        path.write_bytes(files.to_json(values))

    return damage


def replaced(name: str, make: Callable[[Path], object]) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        (folder / name).unlink()
        make(folder / name)

    return damage


DAMAGES: dict[str, Callable[[Path], None]] = {
    "no manifest": lambda folder: (folder / "manifest.json").unlink(),
    "no facts": lambda folder: (folder / "state.json").unlink(),
    "no tensors": lambda folder: (folder / "state.safetensors").unlink(),
    "a manifest of 65 KiB": replaced("manifest.json", lambda path: path.write_bytes(b" " * (65 << 10))),
    "a deep manifest": replaced("manifest.json", lambda path: path.write_bytes(b"[" * 60_000)),
    "a manifest that is a list": replaced("manifest.json", lambda path: path.write_bytes(b"[]")),
    "a manifest that is a folder": replaced("manifest.json", Path.mkdir),
    "tensors that are a pipe": replaced("state.safetensors", os.mkfifo),
    "facts that are a link to themselves": replaced("state.json", lambda path: path.symlink_to(path)),
    "version 2": changed_manifest(lambda values: values.update(version=2)),
    "another format": changed_manifest(lambda values: values.update(format="another")),
    "another step": changed_manifest(lambda values: values.update(step=1)),
    "another file": changed_manifest(lambda values: values["files"].update({"../x": {"size": 0, "sha256": ""}})),
    "a size that is none": changed_manifest(lambda values: values["files"]["state.json"].update(size="many")),
    "files that are none": changed_manifest(lambda values: values.update(files=["state.json"])),
    "another save's name": lambda folder: [folder.rename(folder.with_name("x")), Path.mkdir(folder)],  # type: ignore[dict-item]  # returns what nobody reads
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_save_is_set_aside_and_the_one_before_is_used(directory: Path, damage: str) -> None:
    make_saves(directory, 1, 2)
    DAMAGES[damage](directory / "step-000000002")
    step, (line,) = latest(directory)
    assert step == 1
    assert line.startswith(f"{directory / 'step-000000002'}: damaged (")
    assert "damaged-step-000000002" in line
    assert (directory / "damaged-step-000000002").is_dir()
    assert latest(directory) == (1, [])  # told once


def test_a_save_under_another_steps_name_is_damaged(directory: Path) -> None:
    make_saves(directory, 1, 2)
    (directory / "step-000000002").rename(directory / "step-000000003")
    assert latest(directory)[0] == 1


def test_when_all_are_damaged_there_is_none_and_each_stays_to_be_looked_at(directory: Path) -> None:
    make_saves(directory, 1, 2)
    (directory / "damaged-step-000000002").mkdir()
    for name in ("step-000000001", "step-000000002"):
        (directory / name / "state.json").write_bytes(b"")
    step, lines = latest(directory)
    assert (step, len(lines)) == (None, 2)
    assert names(directory) == ["damaged-step-000000001", "damaged-step-000000002", "damaged-step-000000002-2"]


def test_other_files_in_a_save_do_no_harm(directory: Path) -> None:
    make_saves(directory, 1)
    (directory / "step-000000001" / "notes.txt").write_bytes(b"mine")
    assert latest(directory) == (1, [])


def test_a_folder_of_saves_that_cannot_be_read_is_no_empty_one(directory: Path) -> None:
    directory.parent.mkdir()
    directory.write_bytes(b"")
    with pytest.raises(CheckpointError, match="resume: cannot be read"):
        SnapshotStore(directory, keep_every=None, warn=pytest.fail).latest()
