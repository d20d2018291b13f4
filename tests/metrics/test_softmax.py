"""Softmax against SciPy's, and the package that holds it against torch."""

import subprocess
import sys

import numpy as np
import pytest
import scipy.special
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray

from allmlp.metrics import softmax
from allmlp.metrics.softmax import log_softmax

logits_of_any_size = arrays.arrays(
    np.float32, st.tuples(st.integers(1, 4), st.integers(1, 9)), elements=st.floats(-1e4, 1e4, width=32)
)


@given(logits_of_any_size, st.sampled_from([0.01, 0.5, 1.0, 3.0]))
def test_softmax_is_scipys(logits: NDArray[np.float32], temperature: float) -> None:
    wide = logits.astype(np.float64)
    expected = scipy.special.softmax(wide / temperature, axis=-1)
    # Rounding of logits / temperature before the exponential: about 1e6 * 2^-53 at most.
    np.testing.assert_allclose(softmax(logits, temperature=temperature), expected, rtol=1e-9, atol=1e-300)
    np.testing.assert_allclose(log_softmax(logits), scipy.special.log_softmax(wide, axis=-1), rtol=1e-12, atol=1e-12)


def test_logits_are_left_alone_and_a_single_row_will_do() -> None:
    logits = np.array([1.0, 2.0, 3.0])
    assert softmax(logits).sum() == pytest.approx(1.0)
    assert log_softmax(logits).shape == (3,)
    assert logits.tolist() == [1.0, 2.0, 3.0]


def test_metrics_import_no_torch() -> None:
    code = """
import numpy as np, sys
from allmlp.metrics import *
whole = LabelledFeatures(np.eye(4), np.array([0, 0, 1, 1]), list("abcd"))
few_shot(whole, whole, ("a", "b"), FewShotOptions(shots=(1,)))
fit_temperature(np.eye(4), np.eye(4)[::-1])
sys.exit("torch" in sys.modules)
"""
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=120).returncode == 0
