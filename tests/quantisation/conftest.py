"""A Mixer whose answers differ from photo to photo, its photos, and its exports in int8."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.builders import tiny_checkpoint

from allmlp import Checkpoint
from allmlp.quantisation import ATTEMPTS, Int8Export, export_int8

NAMES = ("cat", "dog", "two words")
ENDINGS = {"onnx": "x.onnx", "openvino": "x.xml"}


@pytest.fixture(scope="session")
def mixer() -> Checkpoint:
    return tiny_checkpoint(image_size=(16, 24), class_names=NAMES, gelu="erf", hidden_dim=16, channels_mlp_dim=24)


@pytest.fixture(scope="session")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("photos")
    generator = np.random.default_rng(0)
    for number in range(60):
        path = folder / NAMES[number % 3] / f"{number}.png"
        path.parent.mkdir(exist_ok=True)
        colours = generator.integers(0, 256, 3)
        noise = generator.integers(-60, 60, (16, 24, 3))
        Image.fromarray((colours + noise).clip(0, 255).astype(np.uint8)).save(path)
    return folder


@pytest.fixture(scope="session")
def exports(
    mixer: Checkpoint, photos: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[tuple[str, str], Int8Export]:
    """One export for each attempt and format, and one of 8 bits."""
    folder = tmp_path_factory.mktemp("exports")
    found = {}
    for to, name in ENDINGS.items():
        for number, attempt in enumerate(ATTEMPTS):
            found[to, attempt.name] = export_int8(
                mixer, photos, to=to, out=folder / f"{number}{name}", agreement=0.0, attempts=(attempt,)
            )
    with pytest.MonkeyPatch.context() as patch:  # on processors without VNNI: the file is examined, its answers are not
        for module in ("quantisation.exporting", "inference.backends.cpu_source"):
            patch.setattr(f"allmlp.{module}.has_exact_int8", lambda: True)
        found["onnx", "8 bits"] = export_int8(
            mixer, photos, out=folder / "8.onnx", agreement=0.0, portable=False, attempts=ATTEMPTS[:1]
        )
    return found
