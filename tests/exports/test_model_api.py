"""OpenVINO's Model API reads our keys: a peer, tested where openvino-model-api is installed (it needs OpenCV)."""

import sys
from pathlib import Path

import numpy as np
import pytest
from tests.builders import tiny_checkpoint

from allmlp import Preprocessing, export, open_model
from allmlp.exports import EXPORT_FORMATS


@pytest.mark.parametrize("to", ["onnx", "openvino"])
@pytest.mark.parametrize("fit", ["crop", "squash", "pad"])
def test_it_gives_the_same_classes_for_images_of_the_models_size(to: str, fit: str, tmp_path: Path) -> None:
    """Of another size, it resizes without antialiasing, so that many answers differ."""
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    models = pytest.importorskip("model_api.models")
    names = ("African elephant", "naïve 猫", "two\nlines", "a/b", "c")
    checkpoint = tiny_checkpoint(
        image_size=(16, 24),
        num_classes=len(names),
        class_names=names,
        preprocessing=Preprocessing(image_size=(16, 24), fit=fit, mean=(0.4, 0.5, 0.6), std=(0.2, 0.3, 0.4)),  # type: ignore[arg-type]
    )
    path = export(checkpoint, to=to, out=tmp_path / f"x{EXPORT_FORMATS[to].ending}")
    generator = np.random.default_rng(0)
    colours = generator.integers(0, 200, (20, 1, 1, 3))
    photos = (colours + generator.integers(0, 56, (20, 16, 24, 3))).astype(np.uint8)
    logits = open_model(path).forward(checkpoint.preprocessing.normalise(photos))
    assert len(set(logits.argmax(axis=1))) > 1
    labels = [name.replace(" ", "_").replace("\n", "_") for name in names]
    peer = models.Model.create_model(str(path))
    for photo, row in zip(photos, logits, strict=True):
        assert peer(photo).top_labels[0].name == labels[row.argmax()]
