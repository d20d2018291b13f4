"""One way to export: the command and the Python function write the same bytes."""

from pathlib import Path
from typing import Any

import pytest

from allmlp import Checkpoint, export, save_checkpoint
from allmlp.cli.main import main


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"pixels": "in"}, ["--pixels", "in"]),
        ({"precision": "int8", "agreement": 0.5}, ["--precision", "int8", "--agreement", "0.5"]),
    ],
    ids=["float32", "int8"],
)
def test_the_command_writes_what_the_function_writes(
    options: dict[str, Any],
    words: list[str],
    mixer: Checkpoint,
    photos: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    saved = save_checkpoint(mixer, tmp_path / "saved")
    if "precision" in options:
        options, words = options | {"calibrate": photos}, [*words, "--calibrate", str(photos)]
    written = export(saved, out=tmp_path / "function.onnx", **options)
    with pytest.raises(SystemExit) as stop:
        main(["export", str(saved), "--out", str(tmp_path / "command.onnx"), *words])
    assert stop.value.code in (0, None)
    assert (tmp_path / "command.onnx").read_bytes() == written.read_bytes()
    assert ("same class, clear photos" in capsys.readouterr().out) == ("precision" in options)
