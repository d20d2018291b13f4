"""The app in other programs: without a lifespan, mounted under a prefix, in several event loops; its threads end with it."""

import asyncio
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.routing import Mount
from starlette.types import ASGIApp
from tests.serve.conftest import photo_of
from tests.serve.running import form

from allmlp.serve import ServeOptions
from allmlp.serve.application import app_of
from allmlp.serve.models import ServedModel

PHOTO = photo_of(0)
RAW = {"Content-Type": "image/png"}
KEY = {"Authorization": "Bearer key"}


@pytest.fixture(scope="module")
def model(sources: dict[str, Path]) -> ServedModel:
    return ServedModel(sources["onnx"], backend="auto", device="auto", precision="auto")


def ask(app: ASGIApp, method: str, path: str, **options: Any) -> httpx.Response:
    """Send a request in an event loop of its own, without a lifespan."""

    async def main() -> httpx.Response:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://test", timeout=60) as client:
            return await client.request(method, path, **options)

    return asyncio.run(main())


def test_an_app_without_a_lifespan_starts_with_its_first_request(model: ServedModel):
    app = app_of(model, ServeOptions(timeout_s=10))
    assert ask(app, "GET", "/readyz").status_code == 200
    for path in ("/predict", "/embed", "/explain"):
        for _ in range(2):
            assert ask(app, "POST", path, content=PHOTO, headers=RAW).status_code == 200


def test_event_loops_may_share_an_app(model: ServedModel):
    app = app_of(model, ServeOptions(timeout_s=30))
    many = form(*[(f'name="photo"; filename="{index}"', PHOTO) for index in range(20)])
    headers = {"Content-Type": "multipart/form-data; boundary=edge"}
    with ThreadPoolExecutor(4) as pool:
        for path in ("/embed", "/explain"):
            asked = [pool.submit(ask, app, "POST", path, content=many, headers=headers) for _ in range(8)]
            assert [each.result().status_code for each in asked] == [200] * 8


@pytest.mark.parametrize("framework", ["starlette", "fastapi"])
def test_a_mounted_app_answers_below_its_prefix(model: ServedModel, framework: str):
    inner = app_of(model, ServeOptions(timeout_s=10, api_keys=("key",)))
    site: Any
    if framework == "fastapi":
        site = FastAPI()
        site.mount("/photos", inner)
    else:
        site = Starlette(routes=[Mount("/photos", app=inner)])
    for path in ("/photos/", "/photos/page.js", "/photos/livez", "/photos/readyz", "/photos/openapi.json"):
        assert ask(site, "GET", path).status_code == 200, path
    assert ask(site, "POST", "/photos/predict", content=PHOTO, headers=RAW).json()["error"]["code"] == "no_key"
    assert ask(site, "GET", "/photos/info").status_code == 401
    answer = ask(site, "POST", "/photos/predict", content=PHOTO, headers=RAW | KEY)
    assert (answer.status_code, len(answer.json()["results"])) == (200, 1)
    metrics = ask(site, "GET", "/photos/metrics", headers=KEY).text
    assert 'allmlp_requests_total{route="/predict",status="200"} 1.0' in metrics
    assert 'route="other"' not in metrics
    assert ask(site, "GET", "/photos/predict", headers=KEY).json()["error"]["code"] == "wrong_method"
    assert ask(site, "GET", "/photos/openapi.json").json()["servers"] == [{"url": "/photos"}]


PROGRAM = """
import asyncio, sys, threading
import httpx
from allmlp.serve import app
asgi = app(sys.argv[1])
async def main():
    async with httpx.AsyncClient(transport=httpx.ASGITransport(asgi), base_url="http://test") as client:
        with open(sys.argv[2], "rb") as photo:
            return await client.post("/predict", content=photo.read())
print(asyncio.run(main()).status_code, any(thread.name == "model" for thread in threading.enumerate()), file=sys.stderr)
"""


def test_threads_without_a_lifespan_end_with_the_process(sources: dict[str, Path], tmp_path: Path):
    (tmp_path / "photo.png").write_bytes(PHOTO)
    command = [sys.executable, "-c", PROGRAM, str(sources["onnx"]), str(tmp_path / "photo.png")]
    outcome = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert (outcome.returncode, outcome.stderr) == (0, "200 True\n")
    assert '"path": "/predict", "status": 200' in outcome.stdout  # the last lines of the log are written
