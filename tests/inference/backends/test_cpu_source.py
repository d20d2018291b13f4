"""Errors of engines: a lack of memory is reported as such, and whatever else they raise is an error of the file."""

import pytest

from allmlp import CheckpointError, ConfigError
from allmlp.inference.backends.cpu_source import engine_errors


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        RuntimeError("Failed to allocate memory for requested buffer of size 1073741824"),
        ValueError("std::bad_alloc"),
        OSError("Out of memory"),
    ],
    ids=str,
)
def test_a_lack_of_memory_says_nothing_about_the_file(error: Exception) -> None:
    with pytest.raises(MemoryError, match=r"^ONNX Runtime: ") as caught, engine_errors("ONNX Runtime", "x.onnx"):
        raise error
    assert caught.value.__cause__ is error


def test_other_errors_are_the_files_and_our_own_stay() -> None:
    with (
        pytest.raises(CheckpointError, match=r"^x.onnx: ONNX Runtime cannot run it \(no such operator\)"),
        engine_errors("ONNX Runtime", "x.onnx"),
    ):
        raise RuntimeError("no such operator")
    with pytest.raises(ConfigError, match=r"^as it is$"), engine_errors("ONNX Runtime", "x.onnx"):
        raise ConfigError("as it is")
