"""Answers of many values: refused beyond a limit, and written piece by piece while others are answered."""

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest
from starlette.responses import JSONResponse
from tests.builders import tiny_checkpoint
from tests.serve.conftest import photo_of
from tests.serve.running import form

from allmlp.serve import ServeOptions
from allmlp.serve.answers import json_pieces
from allmlp.serve.application import app_of
from allmlp.serve.models import ServedModel

FORM = {"Content-Type": "multipart/form-data; boundary=edge"}
PHOTO = photo_of(0)


@pytest.fixture(scope="module")
def model() -> ServedModel:
    """A model with 4,000 classes, 64 patches and 128 features."""
    checkpoint = tiny_checkpoint(image_size=(64, 64), hidden_dim=128, num_blocks=1, num_classes=4000)
    return ServedModel(checkpoint, backend="auto", device="cpu", precision="auto")


def ask(model: ServedModel, path: str, photo: bytes, number: int, **options: Any) -> httpx.Response:
    """Send a form with one photo a number of times."""
    body = form(*[('name="photo"; filename="a"', photo)] * number)

    async def main() -> httpx.Response:
        transport = httpx.ASGITransport(app_of(model, ServeOptions(**options)))
        async with httpx.AsyncClient(transport=transport, base_url="http://test", timeout=120) as client:
            return await client.post(path, content=body, headers=FORM)

    return asyncio.run(main())


@pytest.mark.parametrize(
    ("path", "number", "options", "message"),
    [
        (
            "/predict?top_k=3126",
            64,
            {},
            "The answer would have 200,064 values (64 photos with 3,126 classes each); the limit of this server is 200,000. "
            "Ask for fewer classes (top_k), or send fewer photos per request.",
        ),
        (
            "/predict?top_k=100000",
            51,
            {},
            "The answer would have 204,000 values (51 photos with 4,000 classes each); the limit of this server is 200,000. "
            "Ask for fewer classes (top_k), or send fewer photos per request.",
        ),
        (
            "/explain?" + "&".join(f"class=class+{row}" for row in range(100)),
            32,
            {},
            "The answer would have 204,800 values (32 photos with 6,400 contributions of patches to classes each); the limit "
            "of this server is 200,000. Ask for fewer classes (class), or send fewer photos per request.",
        ),
        (
            "/embed",
            1563,
            {"max_photos": 2000, "max_queue": 2000},
            "The answer would have 200,064 values (1,563 photos with 128 features each); the limit of this server is 200,000. "
            "Send fewer photos per request.",
        ),
    ],
)
def test_an_answer_of_too_many_values_is_refused_before_photos_are_decoded(
    model: ServedModel, path: str, number: int, options: dict[str, Any], message: str
):
    answer = ask(model, path, b"not a photo", number, **options)
    assert answer.status_code == 413, answer.text
    assert answer.json()["error"] == {"status": 413, "code": "too_many_values", "message": message}


def test_an_answer_at_the_limit_is_whole(model: ServedModel):
    results = ask(model, "/predict?top_k=3125", PHOTO, 64, timeout_s=60).json()["results"]
    assert [len(result["labels"]) for result in results] == [3125] * 64
    (row,) = model.outputs([model.decode(PHOTO)])
    assert results[0]["labels"] == results[63]["labels"] == model.answer(row, 3125)["labels"]


def test_pieces_are_short_and_join_to_one_json():
    label = {"label": '"猫" & \u2028', "score": 0.1}
    patches = [[0.25] * 14] * 14
    value: dict[str, Any] = {
        "results": [
            {"source": "a", "labels": [label] * 1201, "unknown": True},
            {"source": "b", "error": {"status": 422, "code": "bad_photo", "message": "Cut."}},
            {"source": "c", "features": [0.5] * 1000, "none": [], "nothing": {}},
            {"source": "d", "classes": [{"label": "x", "contributions": patches}] * 40, "blocks": [label] * 2},
        ]
    }
    pieces = list(json_pieces(value))
    assert "".join(pieces) == bytes(JSONResponse(value).body).decode()
    assert max(piece.count(":") + piece.count(",") for piece in pieces) <= 4 * 500  # 500 labels of two values


def test_health_is_answered_while_an_answer_is_written(model: ServedModel, monkeypatch: pytest.MonkeyPatch):
    begun, go = threading.Event(), threading.Event()
    answer = model.answer

    def answer_slowly(*arguments: Any, **options: Any) -> Any:
        begun.set()
        assert go.wait(60)
        return answer(*arguments, **options)

    monkeypatch.setattr(model, "answer", answer_slowly)
    app = app_of(model, ServeOptions(timeout_s=2))

    async def main() -> tuple[httpx.Response, httpx.Response]:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://test", timeout=60) as client:
            asked = asyncio.ensure_future(client.post("/predict", content=PHOTO))
            while not begun.is_set():
                await asyncio.sleep(0.01)
            return await client.get("/livez"), await asked

    with ThreadPoolExecutor(1) as pool:
        found = pool.submit(asyncio.run, main())
        try:
            health, late = found.result(30)
        finally:
            go.set()
    assert health.status_code == 200
    assert (late.status_code, late.json()["error"]["code"]) == (504, "deadline")
