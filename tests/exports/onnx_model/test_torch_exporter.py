"""torch's own ONNX exporter as an oracle: of the same Mixer, its graph and ours give the same logits."""

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from tests.builders import tiny_checkpoint
from tests.exports.conftest import SHAPES, random_images

from allmlp import export

pytest.importorskip("onnxscript", reason="torch.onnx.export needs it")


@pytest.mark.parametrize("name", ["tanh, not square", "erf", "one token"])
def test_torchs_graph_gives_our_logits(name: str, tmp_path: Path) -> None:
    mixer = tiny_checkpoint(**SHAPES[name])
    export(mixer, out=tmp_path / "ours.onnx")
    height, width = mixer.config.image_size
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of torch, on its own code
        torch.onnx.export(
            mixer.build().eval(),
            (torch.zeros(2, 3, height, width),),
            tmp_path / "theirs.onnx",
            dynamo=True,
            external_data=False,
            input_names=["images"],
            output_names=["logits"],
            dynamic_shapes={"images": {0: torch.export.Dim("batch")}},
            opset_version=20,
            verbose=False,
        )

    def logits_of(file: str, images: Any) -> Any:
        session = onnxruntime.InferenceSession(tmp_path / file, providers=["CPUExecutionProvider"])
        return session.run(["logits"], {"images": images})[0]

    for batch in (2, 3, 33):
        images = random_images(batch, mixer.config, seed=batch)
        theirs = logits_of("theirs.onnx", images)
        assert theirs.shape == (batch, mixer.config.num_classes)
        np.testing.assert_allclose(logits_of("ours.onnx", images), theirs, rtol=1e-5, atol=1e-5)
