"""Keys, and what the log says."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.serve.conftest import LIMITS, photo_of
from tests.serve.running import Running, form, running

PHOTO = photo_of(0)
KEYS = ("first-key", "second-key")


@pytest.fixture(scope="module")
def locked(sources: dict[str, Path]) -> Iterator[Running]:
    with running(sources["onnx"], options={**LIMITS, "api_keys": KEYS}) as server:
        yield server


@pytest.mark.parametrize(
    ("header", "code"),
    [
        (None, "no_key"),
        (("Authorization", "Bearer wrong"), "wrong_key"),
        (("Authorization", "Bearer"), "no_key"),
        (("Authorization", "Bearer first-ke"), "wrong_key"),
        (("Authorization", "Bearer first-key2"), "wrong_key"),
        (("Authorization", "Basic first-key"), "no_key"),
        (("Authorization", "Bearer first-key,second-key"), "wrong_key"),
        (("X-API-Key", "\xff\xfe"), "wrong_key"),
        (("X-API-Key", ""), "no_key"),
        (("Authorization", "Bearer first-key"), ""),
        (("Authorization", "bearer second-key"), ""),
        (("X-API-Key", "second-key"), ""),
    ],
)
def test_a_key_opens(locked: Running, header: tuple[str, str] | None, code: str):
    answer = locked.predict(PHOTO, "/predict", *([] if header is None else [header]))
    assert answer.status == (401 if code else 200)
    if code:
        assert answer.code == code
        assert answer.headers["www-authenticate"] == "Bearer"


@pytest.mark.parametrize(
    "path", ["/", "/page.js", "/photos.js", "/style.css", "/icon.svg", "/livez", "/readyz", "/openapi.json"]
)
def test_health_and_the_page_need_no_key(locked: Running, path: str):
    assert locked.ask("GET", path).status == 200


@pytest.mark.parametrize("path", ["/info", "/metrics", "/predict", "/embed", "/nothing"])
def test_all_else_needs_the_key(locked: Running, path: str):
    assert locked.ask("GET", path).status == 401


def test_no_key_and_no_name_of_a_file_is_logged(locked: Running):
    headers = [("Authorization", "Bearer first-key"), ("Content-Type", "multipart/form-data; boundary=edge")]
    body = form(('name="photo"; filename="secret.png"', PHOTO))
    assert locked.ask("POST", "/predict", body, headers).status == 200
    assert locked.ask("POST", "/predict?secret=1", body, headers).status == 400
    assert locked.predict(PHOTO, "/predict", ("Authorization", "Bearer secret")).status == 401
    while not any('"status": 401' in line for line in locked.log):
        assert locked.ask("GET", "/livez").status == 200
    text_of_log = "".join(locked.log)
    assert not any(word in text_of_log for word in ("secret", *KEYS))
    assert {"time", "client", "method", "path", "status", "ms"} <= set(json.loads(locked.log[0]))
