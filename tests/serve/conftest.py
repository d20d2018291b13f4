"""A tiny model with difficult class names, in every form that is served, and photos."""

import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.builders import tiny_checkpoint
from tests.serve.running import Running, running

from allmlp import export, save_checkpoint

pytest.importorskip("fastapi")

NAMES = ("cat", "<img src=x onerror=document.title='run'>", "猫", '"quoted" & more', "yak", "zebra")
LIMITS = {"header_timeout_s": 1.0, "body_timeout_s": 1.0, "max_upload_mb": 1}


@pytest.fixture(scope="session")
def sources(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The model as a checkpoint, as an ONNX file and as an OpenVINO model."""
    folder = tmp_path_factory.mktemp("served")
    checkpoint = tiny_checkpoint(
        seed=3, hidden_dim=16, num_blocks=1, num_classes=len(NAMES), class_names=NAMES, temperature=1.3
    )
    save_checkpoint(checkpoint, folder / "checkpoint")
    export(checkpoint, to="onnx", out=folder / "model.onnx")
    export(checkpoint, to="openvino", out=folder / "model.xml")
    return {"checkpoint": folder / "checkpoint", "onnx": folder / "model.onnx", "openvino": folder / "model.xml"}


def photo_of(seed: int, size: tuple[int, int] = (24, 20)) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    content = io.BytesIO()
    Image.fromarray(pixels).save(content, "PNG")
    return content.getvalue()


@pytest.fixture(scope="session")
def photos() -> list[bytes]:
    """Photos whose answers differ."""
    return [photo_of(seed) for seed in range(64)]


@pytest.fixture(scope="module")
def server(sources: dict[str, Path]) -> Iterator[Running]:
    """A server of the ONNX file with short limits of time."""
    with running(sources["onnx"], options=LIMITS) as server:
        yield server
