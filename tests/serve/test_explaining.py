"""/explain: the contributions of patches add up to the logits of the answer."""

from pathlib import Path

import numpy as np
import pytest
from tests.serve.conftest import LIMITS, NAMES, photo_of
from tests.serve.running import Running, running

PHOTO = photo_of(0)


@pytest.mark.parametrize("source", ["checkpoint", "onnx", "openvino"])
def test_contributions_add_up_to_logits(sources: dict[str, Path], source: str):
    with running(sources[source], options=LIMITS) as server:
        labels = server.predict(PHOTO, "/predict?top_k=3").json["results"][0]["labels"]
        (found,) = server.predict(PHOTO, "/explain").json["results"]
        assert [each["label"] for each in found["classes"]] == [label["label"] for label in labels]
        for each, label in zip(found["classes"], labels, strict=True):
            assert each["bias"] + np.sum(each["contributions"]) == pytest.approx(each["logit"], abs=1e-5)
            assert each["score"] == pytest.approx(label["score"], abs=1e-6)  # summed in another order


def test_classes_are_chosen(server: Running):
    path = "/explain?class=zebra&class=cat"
    assert [each["label"] for each in server.predict(PHOTO, path).json["results"][0]["classes"]] == ["zebra", "cat"]
    answer = server.predict(PHOTO, "/explain?class=lion")
    assert (answer.status, answer.code) == (400, "unknown_class")
    assert "lion" in answer.json["error"]["message"]
    assert NAMES[0] == "cat"


def test_a_broken_photo_is_its_own_error(server: Running):
    assert server.predict(b"x", "/explain").code == "unsupported_photo"
    assert server.predict(PHOTO, "/explain").status == 200
