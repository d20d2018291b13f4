"""What an export says about itself: read back as it was, without paths, and as OpenVINO's Model API reads it."""

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from safetensors.numpy import save_file
from tests.builders import tiny_checkpoint, tiny_description
from tests.exports.conftest import FILE_FORMATS, NAMES

from allmlp import Checkpoint, ModelDescription, Preprocessing, export, load_checkpoint
from allmlp.checkpoints import as_arrays
from allmlp.exports import EXPORT_FORMATS, onnx_bytes, open_export
from allmlp.exports.metadata import model_info, weights_digest, without_paths


@pytest.mark.parametrize("to", FILE_FORMATS)
def test_a_description_is_read_back_as_it_was(to: str, mixer: Checkpoint, tmp_path: Path) -> None:
    path = export(mixer, to=to, out=tmp_path / f"x{EXPORT_FORMATS[to].ending}")
    info = open_export(path).info
    assert info.description == mixer.description
    assert (info.precision, info.weights_sha256) == ("float32", weights_digest(as_arrays(mixer).weights))


def test_the_digest_of_the_weights_follows_every_value_name_and_shape(checkpoint: Checkpoint) -> None:
    weights = dict(as_arrays(checkpoint).weights)
    digests = {weights_digest(weights)}
    name = "blocks.0.token_mixing.fc1.weight"
    digests.add(weights_digest({**weights, name: weights[name] + 1e-6}))
    digests.add(weights_digest({**weights, name: weights[name].reshape(-1)}))
    digests.add(weights_digest({**weights, "other": weights[name]}))
    assert len(digests) == 4
    assert weights_digest(dict(reversed(weights.items()))) in digests


def test_the_keys_of_the_model_api_have_one_word_for_each_class(checkpoint: Checkpoint) -> None:
    proto = onnx.load_from_string(onnx_bytes(as_arrays(checkpoint)))
    entries = {entry.key: entry.value for entry in proto.metadata_props}
    labels = entries["model_info labels"].split()
    assert labels == ["African_elephant", "naïve_猫", "two_lines", "tab_here", '"quoted"_<&>', "a/b", "_"]
    assert entries["model_info model_type"] == "Classification"
    assert json.loads(entries["allmlp"])["checkpoint"]["class_names"] == list(NAMES)
    info = model_info(tiny_checkpoint(preprocessing=Preprocessing(image_size=16, mean=(0.485, 0, 1))).description)
    assert (info["mean_values"], info["scale_values"]) == ("123.675 0 255", "127.5 127.5 127.5")


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("trained by allmlp, recipe photos64, seed 0, step 5", None),
        ("hf:timm/mixer_b16_224.goog_in21k: trained on ImageNet; fits S/16, B/16", None),
        ("/home/ann/runs/w.npz (timm's names): unknown origin; fits B/16", "a local file (timm's names): unknown origin; "
         "fits B/16"),
        ("/home/Ann B. Smith/my weights/w.npz (ours): unknown origin", "a local file (ours): unknown origin"),
        (r"C:\Users\ann\w.pth (ours): unknown origin; from 64 × 64 to 32 × 32 pixels", "a local file (ours): unknown origin; "
         "from 64 × 64 to 32 × 32 pixels"),
        ("secret.safetensors (ours): unknown origin", "a local file (ours): unknown origin"),
        ("runs/mine: best", "a local file: best"),
    ],
)  # fmt: skip
def test_no_path_of_this_machine_is_in_an_export(source: str, expected: str | None, tmp_path: Path) -> None:
    checkpoint = tiny_checkpoint(source=source)
    for to in FILE_FORMATS:
        path = export(checkpoint, to=to, out=tmp_path / "somewhere" / f"x{EXPORT_FORMATS[to].ending}")
        found: ModelDescription = open_export(path).info.description
        assert found.source == (expected or source)
        for file in path.parent.glob("x.*"):
            assert all(word not in file.read_bytes() for word in (b"somewhere", b"/home", b"ann\\", b"secret"))


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("secret.pth.tar (ours): unknown origin", "a local file (ours): unknown origin"),
        ("Ann secret.npz (ours): unknown origin", "a local file (ours): unknown origin"),
        ("/home/ann/My secret (timm): unknown origin; fits B/16", "a local file (timm): unknown origin; fits B/16"),
        ("mixer-of-secret (timm): unknown origin; new classifier with 3 classes", "a local file (timm): unknown origin; "
         "new classifier with 3 classes"),
        ("a (secret): unknown origin/b (ours): unknown origin", "a local file (ours): unknown origin"),
        ("my secret: b16-i1k by its SHA-256: ImageNet-1k", "a local file: b16-i1k by its SHA-256: ImageNet-1k"),
        ("hf:ann/mixer@v1.0 (timm): unknown origin; fits S/16", None),
        ("hf:secret model (timm): unknown origin", "a local file (timm): unknown origin"),
        ("b16-i1k: trained on ImageNet-1k; Google's imagenet1k/Mixer-B_16.npz", None),
        ("saved in secret.pth.tar", "saved in a local file"),
    ],
)  # fmt: skip
def test_a_path_may_have_any_characters(source: str, expected: str | None) -> None:
    assert without_paths(tiny_description(source=source)).source == (expected or source)


@pytest.mark.parametrize("name", ["Ann Smith.npz", "weights of ann", "ann.pth.tar", "folder/ann.safetensors"])
def test_no_name_of_a_weight_file_is_in_an_export(
    name: str, checkpoint: Checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From the file to the export, with a relative name."""
    monkeypatch.chdir(tmp_path)
    Path(name).parent.mkdir(exist_ok=True)
    ending = ".npz" if name.endswith(".npz") else ".safetensors"
    weights = as_arrays(checkpoint).weights
    if ending == ".npz":
        np.savez(name, **weights)
    else:
        save_file(dict(weights), name)
    loaded = load_checkpoint(name, image_size=checkpoint.config.image_size)
    assert "unknown origin" in loaded.source and name in loaded.source
    path = export(loaded, out="x.onnx")
    assert open_export(path).description.source.startswith("a local file (")
    assert name.encode() not in path.read_bytes()
