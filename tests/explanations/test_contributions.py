"""Contributions: their sum with the bias is the logit on every backend, and timm's tokens give the same ones."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.builders import tiny_checkpoint
from tests.exports.conftest import random_images
from tests.reference.other_layouts import timm_name

from allmlp import Checkpoint, ConfigError, Explainer, explain, export, open_model
from allmlp.explanations.contributions import READERS, open_contributions
from allmlp.inference import BACKENDS

# The sum over patches in float64 of float32 products, against a product with the mean: they differ by roundings of sums of at
# most 16 numbers, and engines by those of the whole network.
TOLERANCE = 2e-5


@pytest.fixture
def checkpoint() -> Checkpoint:
    return tiny_checkpoint(image_size=(16, 24), hidden_dim=16, tokens_mlp_dim=16, channels_mlp_dim=32, num_classes=7)


def sources(checkpoint: Checkpoint, folder: Path, backend: str) -> list[Checkpoint | Path]:
    """Return the forms of a model that a backend opens."""
    if backend in ("eager", "compiled"):
        return [checkpoint, export(checkpoint, to="torch", out=folder / "mixer.pt2")]
    if backend == "litert":
        return [checkpoint, export(checkpoint, to="litert", out=folder / "mixer.tflite")]
    files = [export(checkpoint, out=folder / "mixer.onnx"), export(checkpoint, out=folder / "pixels.onnx", pixels="in")]
    if backend == "openvino":
        files.append(export(checkpoint, to="openvino", out=folder / "mixer.xml"))
    return [checkpoint, *files]


@pytest.mark.parametrize("backend", BACKENDS)
def test_contributions_and_bias_sum_to_the_logits(backend: str, checkpoint: Checkpoint, tmp_path: Path) -> None:
    images = random_images(5, checkpoint.config)
    expected = open_model(checkpoint, backend="eager", device="cpu").forward(images)
    for source in sources(checkpoint, tmp_path, backend):
        model = open_contributions(source, backend=backend, device="cpu")
        found = model.compute(images)
        assert found.values.shape == (5, 6, 7)
        assert found.values.dtype == found.logits.dtype == np.float32
        np.testing.assert_allclose(model.bias, checkpoint.weights["head.bias"].numpy(), atol=TOLERANCE)
        np.testing.assert_allclose(model.bias + found.values.sum(axis=1), expected, atol=TOLERANCE)
        np.testing.assert_allclose(found.logits, expected, atol=TOLERANCE)
        assert (found.blocks is not None) == (backend in ("eager", "compiled"))


def test_every_backend_gives_contributions() -> None:
    assert READERS.keys() == BACKENDS.keys()


def test_contributions_are_those_of_timms_tokens() -> None:
    from timm.models.mlp_mixer import MlpMixer as TimmMixer

    checkpoint = tiny_checkpoint(image_size=32, hidden_dim=24, tokens_mlp_dim=12, channels_mlp_dim=96, gelu="erf")
    config = checkpoint.config
    theirs = TimmMixer(
        num_classes=config.num_classes,
        img_size=config.image_size,
        patch_size=config.patch_size,
        num_blocks=config.num_blocks,
        embed_dim=config.hidden_dim,
        mlp_ratio=(0.5, 4.0),
    ).eval()
    theirs.load_state_dict({timm_name(name): weight for name, weight in checkpoint.weights.items()})
    images = random_images(3, config)
    with torch.no_grad():
        tokens = theirs.forward_features(torch.from_numpy(images))  # (B, S, C), after the final LayerNorm
        alone = [torch.zeros_like(tokens).index_copy(1, torch.tensor([s]), tokens[:, [s]]) for s in range(16)]
        # Masking: the logits of one token alone, with all others zero, beyond those of no token at all.
        nothing = theirs.forward_head(torch.zeros_like(tokens))
        expected = torch.stack([theirs.forward_head(only) - nothing for only in alone], dim=1).numpy()
        logits = theirs(torch.from_numpy(images)).numpy()
    found = open_contributions(checkpoint, backend="eager", device="cpu").compute(images)
    np.testing.assert_allclose(found.values, expected, atol=TOLERANCE)
    np.testing.assert_allclose(found.logits, logits, atol=TOLERANCE)


def test_the_reading_after_a_block_is_the_logits_of_a_mixer_that_ends_there(checkpoint: Checkpoint) -> None:
    images = random_images(3, checkpoint.config)
    blocks = open_contributions(checkpoint, backend="eager", device="cpu").compute(images).blocks
    assert blocks is not None
    assert blocks.shape == (3, 2, 7)
    shorter = tiny_checkpoint(
        config=checkpoint.config,
        num_blocks=1,
    ).replace(weights={name: value for name, value in checkpoint.weights.items() if not name.startswith("blocks.1.")})
    for number, whole in enumerate((shorter, checkpoint)):
        expected = open_model(whole, backend="eager", device="cpu").forward(images)
        np.testing.assert_allclose(blocks[:, number], expected, atol=TOLERANCE)


@pytest.mark.parametrize(("to", "file"), [("onnx", "mixer.onnx"), ("openvino", "mixer.xml")])
def test_an_export_is_explained_without_torch(to: str, file: str, checkpoint: Checkpoint, tmp_path: Path) -> None:
    path = export(checkpoint, to=to, out=tmp_path / file)
    code = (
        "import sys, numpy as np, allmlp; photo = np.arange(40 * 30 * 3, dtype=np.uint32).astype(np.uint8).reshape(40, 30, 3); "
        "found = allmlp.explain(sys.argv[1], photo, occlusion=True); allmlp.overlay(found); "
        "print('torch' in sys.modules, *found.logits)"
    )
    run = subprocess.run([sys.executable, "-c", code, path], capture_output=True, text=True, check=True, timeout=120)
    imported, *logits = run.stdout.split()
    assert imported == "False"
    photo = np.arange(40 * 30 * 3, dtype=np.uint32).astype(np.uint8).reshape(40, 30, 3)
    expected = explain(checkpoint, photo, device="cpu", backend="eager").logits
    np.testing.assert_allclose([float(value) for value in logits], expected, atol=TOLERANCE)


def test_what_cannot_be_explained_is_refused() -> None:
    headless = tiny_checkpoint(num_classes=0)
    with pytest.raises(ConfigError, match=r"no classifier .* no answer to explain"):
        Explainer.from_checkpoint(headless)
    with pytest.raises(ConfigError, match="Unknown backend 'eagre'"):
        Explainer.from_checkpoint(tiny_checkpoint(), backend="eagre")
    with pytest.raises(ConfigError, match=r"model is 'runs/mine'; from a path.*Explainer\.from_checkpoint"):
        Explainer("runs/mine")  # type: ignore[arg-type]
