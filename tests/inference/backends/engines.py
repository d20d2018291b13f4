"""The backends as parameters of tests. Compiling takes seconds to minutes, so "compiled" is slow in all but its own tests."""

import pytest

from allmlp.inference import BACKENDS
from allmlp.inference.backends.openvino_runtime import has_bfloat16

QUICK = tuple(name for name in BACKENDS if name != "compiled")
EVERY = tuple(pytest.param(name, marks=pytest.mark.slow) if name == "compiled" else name for name in BACKENDS)
PRECISIONS = tuple(
    pytest.param(name, precision, marks=pytest.mark.slow if name == "compiled" else ())
    for name, backend in BACKENDS.items()
    for precision in backend.precisions
)


def skip_without_bfloat16(backend: str, precision: str) -> None:
    """Skip a test of a precision that the backend refuses on this processor."""
    if (backend, precision) == ("openvino", "bfloat16") and not has_bfloat16():
        pytest.skip("this processor lacks bfloat16")
