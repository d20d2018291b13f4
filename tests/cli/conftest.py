"""Commands run in this process through `main`, as the installed program runs them: output, exit code and all."""

import io
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from PIL import Image
from tests.builders import tiny_checkpoint

from allmlp import save_checkpoint
from allmlp.cli.main import main

CLASS_NAMES = ("cat", "=dog", "[red]fox", "owl", "yak", "zebra")


class Outcome(NamedTuple):
    code: int
    out: str
    err: str


@pytest.fixture
def allmlp(capsys, monkeypatch) -> Callable[..., Outcome]:
    def run(*arguments: object, stdin: bytes = b"") -> Outcome:
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(stdin)))
        monkeypatch.setattr("sys.argv", ["allmlp"])  # which printed commands begin with, however pytest was started
        capsys.readouterr()
        with pytest.raises(SystemExit) as stop:
            main([str(argument) for argument in arguments])
        out, err = capsys.readouterr()
        code = stop.value.code
        assert isinstance(code, int)
        return Outcome(code, out, err)

    return run


@pytest.fixture(scope="session")
def saved_checkpoint(tmp_path_factory) -> Path:
    """A checkpoint folder with random weights, the classifier's too, and six classes."""
    checkpoint = tiny_checkpoint(
        seed=3, hidden_dim=16, num_blocks=1, num_classes=len(CLASS_NAMES), class_names=CLASS_NAMES
    )
    return save_checkpoint(checkpoint, tmp_path_factory.mktemp("checkpoint") / "saved")


@pytest.fixture(scope="session")
def write_photo() -> Callable[..., Path]:
    """Write a photo whose pixels follow from `seed`."""

    def write(path: Path, seed: int = 0) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(seed).integers(0, 256, (20, 24, 3), dtype=np.uint8)
        content = io.BytesIO()
        Image.fromarray(pixels).save(content, "PNG")
        path.write_bytes(content.getvalue())
        return path

    return write
