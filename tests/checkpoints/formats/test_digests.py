"""A checkpoint that changed since it was written is refused by name, whichever bit it is."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from tests.builders import tiny_checkpoint
from tests.checkpoints.refusal import refused

from allmlp import CheckpointError, Predictor, load_checkpoint, save_checkpoint


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return save_checkpoint(tiny_checkpoint(), tmp_path / "checkpoint")


@pytest.mark.parametrize("name", ["model.safetensors", "config.json"])
def test_no_flipped_bit_is_read(name: str, folder: Path) -> None:
    path = folder / name
    content = path.read_bytes()
    generator = np.random.default_rng(0)
    positions = generator.integers(0, 8 * len(content), 150).tolist()
    marker = content.index(b'"sha256"')  # the digest itself, and the name by which it is found
    for bit in (*positions, *range(8 * marker, 8 * (marker + 12))):
        flipped = bytearray(content)
        flipped[bit // 8] ^= 1 << bit % 8
        path.write_bytes(flipped)
        if name == "config.json" and _same_json(bytes(flipped), content):
            continue  # a blank became another blank
        with pytest.raises(CheckpointError, match=str(folder)):
            load_checkpoint(folder)
    path.write_bytes(content)
    load_checkpoint(folder)


def _same_json(one: bytes, other: bytes) -> bool:
    try:
        return bool(json.loads(one) == json.loads(other))
    except ValueError:
        return False


def test_a_flipped_bit_is_refused_by_name_when_predicting(folder: Path) -> None:
    path = folder / "model.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1  # the sign of the last weight
    path.write_bytes(content)
    with refused(path, "changed since it was written", "SHA-256"):
        Predictor.from_checkpoint(folder)


def test_weights_of_another_file_are_refused_until_the_digest_is_removed(folder: Path) -> None:
    checkpoint = load_checkpoint(folder)
    doubled = {name: 2 * value for name, value in checkpoint.weights.items()}
    safetensors.torch.save_file(doubled, folder / "model.safetensors")
    with refused(folder / "model.safetensors", "replaced by another file", 'delete the line "sha256"'):
        load_checkpoint(folder)
    config = json.loads((folder / "config.json").read_text())
    del config["sha256"]
    (folder / "config.json").write_text(json.dumps(config))
    loaded = load_checkpoint(folder)
    assert all(torch.equal(loaded.weights[name], value) for name, value in doubled.items())


def test_an_edited_configuration_is_refused_until_its_digest_is_removed(folder: Path) -> None:
    path = folder / "config.json"
    config = json.loads(path.read_text())
    config["preprocessing"]["mean"] = [0.5, 0.5, 0.25]
    path.write_text(json.dumps(config))
    with refused(path, "changed since it was written", 'delete the line "sha256"'):
        load_checkpoint(folder)
    del config["sha256"]
    path.write_text(json.dumps(config))
    assert load_checkpoint(folder).preprocessing.mean == (0.5, 0.5, 0.25)


def test_the_digest_is_that_of_the_file_with_zeros_in_its_place(folder: Path) -> None:
    content = (folder / "model.safetensors").read_bytes()
    with safetensors.safe_open(folder / "model.safetensors", framework="pt") as file:
        metadata = file.metadata()
    digest = metadata["sha256"]
    assert metadata["format"] == "pt"
    assert hashlib.sha256(content.replace(digest.encode(), b"0" * 64)).hexdigest() == digest


def test_other_programs_read_the_weights(folder: Path) -> None:
    loaded = safetensors.torch.load_file(folder / "model.safetensors")
    expected = load_checkpoint(folder).weights
    assert loaded.keys() == expected.keys()
    assert all(torch.equal(value, loaded[name]) for name, value in expected.items())


def test_the_same_checkpoint_is_the_same_bytes(folder: Path, tmp_path: Path) -> None:
    again = save_checkpoint(tiny_checkpoint(), tmp_path / "again")
    for name in ("model.safetensors", "config.json"):
        assert (again / name).read_bytes() == (folder / name).read_bytes()
