"""The program in a .pt2 file: torch itself loads it without allmlp, and it answers as the checkpoint."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.builders import tiny_checkpoint
from tests.exports.conftest import SHAPES, random_images
from tests.test_python_docs import python_blocks

from allmlp import Checkpoint, export
from allmlp.exports import open_export

# As docs/export.md shows, in a process that cannot import allmlp.
SERVER = """
import sys
sys.modules["allmlp"] = None
import json, numpy as np, torch
extra = {"allmlp.json": ""}
model = torch.export.load(sys.argv[1], extra_files=extra).module()
answers = {}
for number, images in np.load(sys.argv[2]).items():
    for name, values in model(torch.from_numpy(images)).items():
        answers[f"{number} {name}"] = values.numpy()
np.savez(sys.argv[3], **answers)
print(json.dumps(json.loads(extra["allmlp.json"])["checkpoint"]["class_names"]))
"""


def served(path: Path, images: dict[str, np.ndarray], folder: Path) -> tuple[dict[str, np.ndarray], list[str]]:
    """Return the outputs of a file in a process without allmlp, and its class names."""
    np.savez(folder / "images.npz", **images)
    arguments = [str(path), str(folder / "images.npz"), str(folder / "answers.npz")]
    code = [sys.executable, "-W", "ignore", "-c", SERVER, *arguments]
    outcome = subprocess.run(code, cwd=folder, capture_output=True, text=True, check=False, timeout=120)
    assert outcome.returncode == 0, outcome.stderr
    return dict(np.load(folder / "answers.npz")), json.loads(outcome.stdout)


def test_a_server_without_allmlp_gets_the_checkpoints_outputs_in_any_batch(
    checkpoint: Checkpoint, tmp_path: Path
) -> None:
    path = export(checkpoint, to="torch", out=tmp_path / "x.pt2")
    images = {str(number): random_images(number, checkpoint.config, seed=number) for number in (1, 2, 3, 33)}
    answers, names = served(path, images, tmp_path)
    assert tuple(names) == checkpoint.class_names
    model = checkpoint.build().eval()
    for number, batch in images.items():
        with torch.no_grad():
            features = model.features(torch.from_numpy(batch))
            expected = {"features": features.numpy(), "logits": model(features).numpy()}
        for name, values in expected.items():
            np.testing.assert_allclose(answers[f"{number} {name}"], values, rtol=1e-5, atol=1e-5)
        contributions = answers[f"{number} contributions"]
        assert contributions.shape == (len(batch), checkpoint.config.num_tokens, 7)
        total = contributions.sum(axis=1) + checkpoint.weights["head.bias"].numpy()
        np.testing.assert_allclose(total, expected["logits"], rtol=1e-4, atol=1e-5)


def test_the_python_of_the_page_gives_the_logits_of_the_file(
    checkpoint: Checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = export(checkpoint, to="torch", out=Path("mine.pt2"))
    (block,) = [block for block in python_blocks("docs/export.md") if "torch.export.load" in block]
    names: dict[str, Any] = {}
    exec(block, names)
    logits = names["logits"].numpy()
    assert logits.shape == (8, 7) and tuple(names["names"]) == checkpoint.class_names
    np.testing.assert_allclose(
        logits, open_export(path).checked_program()(names["images"].numpy()), rtol=1e-5, atol=1e-5
    )


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """One Mixer in both precisions, from a source with a path."""
    checkpoint = tiny_checkpoint(
        hidden_dim=64, channels_mlp_dim=256, num_blocks=1, source=f"{Path.home()}/secret/run/model.safetensors"
    )
    folder = tmp_path_factory.mktemp("both")
    return {
        name: export(checkpoint, to="torch", precision=name, out=folder / f"{name}.pt2")
        for name in ("float32", "bfloat16")
    }


@pytest.mark.parametrize("name", ["erf", "one token"])
def test_other_shapes_answer_as_their_checkpoint(name: str, tmp_path: Path) -> None:
    mixer = tiny_checkpoint(**SHAPES[name])
    read = open_export(export(mixer, to="torch", out=tmp_path / "x.pt2"))
    images = random_images(3, mixer.config)
    with torch.no_grad():
        expected = mixer.build().eval()(torch.from_numpy(images)).numpy()
    np.testing.assert_allclose(read.checked_program()(images), expected, rtol=1e-5, atol=1e-5)
    assert read.description == mixer.description


def test_bfloat16_is_near_float32_and_half_as_large(both: dict[str, Path]) -> None:
    reads = [open_export(both[name]) for name in ("float32", "bfloat16")]
    images = random_images(8, reads[0].description.config)
    before, after = (read.checked_program()(images) for read in reads)
    assert 0 < np.abs(after - before).max() < 0.03 * np.abs(before).max()
    weights = [sum(array.nbytes for array in read.weights.values()) for read in reads]
    assert weights[0] == weights[1]  # as float32 in memory
    assert both["float32"].stat().st_size - both["bfloat16"].stat().st_size > 0.4 * weights[0]
    assert reads[0].info.weights_sha256 == reads[1].info.weights_sha256


def test_a_mixer_without_a_classifier_has_features_only(tmp_path: Path) -> None:
    checkpoint = tiny_checkpoint(num_classes=0, class_names=())
    read = open_export(export(checkpoint, to="torch", out=tmp_path / "x.pt2"))
    images = random_images(33, checkpoint.config)
    with torch.no_grad():
        expected = checkpoint.build().eval().features(torch.from_numpy(images)).numpy()
    np.testing.assert_allclose(read.checked_program()(images), expected, rtol=1e-5, atol=1e-5)
    assert b"contributions" not in read.program


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_nothing_in_the_file_names_this_machine(precision: str, both: dict[str, Path]) -> None:
    content = both[precision].read_bytes()
    for words in ("site-packages", "/src/", ".py", "secret", str(both[precision].parent), sys.prefix):
        assert words.encode() not in content
    home = str(Path.home())
    assert len(home) < 3 or home.encode() not in content
