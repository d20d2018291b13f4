"""/explain: the contributions of patches add up to the logits of the answer, which is "unknown" as that of /predict."""

import asyncio
from pathlib import Path

import httpx
import numpy as np
import pytest
from tests.builders import unknown_rule
from tests.serve.conftest import LIMITS, NAMES, photo_of
from tests.serve.running import Running, form, running

from allmlp import Embedder, export, load_checkpoint
from allmlp.serve import app

PHOTO = photo_of(0)
FORM = {"Content-Type": "multipart/form-data; boundary=edge"}


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


@pytest.mark.parametrize("is_export", [False, True])
def test_a_photo_is_unknown_in_an_explanation_as_in_the_answer(
    sources: dict[str, Path], photos: list[bytes], is_export: bool, tmp_path: Path
):
    checkpoint = load_checkpoint(sources["checkpoint"])
    lengths = np.square(Embedder.from_checkpoint(checkpoint, device="cpu").embed(photos[:8]).astype(float)).sum(axis=1)
    rule = unknown_rule(checkpoint.config.hidden_dim, threshold=-float(np.median(lengths)))
    cautious = checkpoint.replace(unknown=rule)
    asgi = app(export(cautious, to="onnx", out=tmp_path / "model.onnx") if is_export else cautious)
    body = form(*[(f'name="photo"; filename="{index}"', photo) for index, photo in enumerate(photos[:8])])

    async def ask(path: str) -> list[bool | None]:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(asgi), base_url="http://test", timeout=60) as client:
            results = (await client.post(path, content=body, headers=FORM)).json()["results"]
        return [result.get("unknown") for result in results]

    predicted = asyncio.run(ask("/predict"))
    assert predicted == [True if length > np.median(lengths) else None for length in lengths]
    assert asyncio.run(ask("/explain")) == predicted
