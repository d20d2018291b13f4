"""Import of the optional libraries that write and read exports."""

import importlib
import importlib.util
import os
import sys
from typing import Any

from allmlp.errors import MissingExtraError

__all__ = ["import_litert_schema", "import_onnx", "import_onnxruntime", "import_openvino", "import_torch"]


def import_onnx() -> Any:
    """Return the module `onnx`.

    Raises:
        MissingExtraError: it is not installed.
    """
    _check_installed("onnx", "To write ONNX, allmlp needs the library onnx")
    return importlib.import_module("onnx")


def import_onnxruntime() -> Any:
    """Return the module `onnxruntime`, without its telemetry.

    `import onnxruntime` (1.32, on Linux, too) would otherwise write an identifier of the machine into the user's cache folder,
    with a database of events for Microsoft. Its `disable_telemetry_events` comes too late for that.
    """
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    runtime = importlib.import_module("onnxruntime")
    runtime.disable_telemetry_events()  # on Windows, in versions that do not read the variable
    return runtime


def import_litert_schema() -> Any:
    """Return the module of LiteRT's format, `ai_edge_litert.schema_py_generated`, in Python only.

    Raises:
        MissingExtraError: ai-edge-litert is not installed.
    """
    _check_installed("ai_edge_litert", "TensorFlow Lite models need the library ai-edge-litert", "allmlp[litert]")
    return importlib.import_module("ai_edge_litert.schema_py_generated")


def import_openvino() -> Any:
    """Return the module `openvino`, without its telemetry.

    `import openvino` would otherwise send an event to Google Analytics if the package openvino-telemetry is there, which
    comes with it. Without that package, OpenVINO uses an empty substitute of its own.

    Raises:
        MissingExtraError: it is not installed.
    """
    _check_installed("openvino", "OpenVINO models need the library openvino")
    if "openvino" not in sys.modules:
        sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type] # which makes its import fail
    return importlib.import_module("openvino")


def import_torch() -> Any:
    """Return the module `torch`, which small environments lack.

    Raises:
        MissingExtraError: it is not installed.
    """
    _check_installed("torch", "To write a .pt2 file, allmlp needs torch", "allmlp")
    return importlib.import_module("torch")


def _check_installed(name: str, need: str, package: str = "") -> None:
    if name not in sys.modules and importlib.util.find_spec(name) is None:
        raise MissingExtraError(f"{need}: pip install '{package or f'allmlp[{name}]'}'")
