"""Keys, and what the log and the counts say."""

import json
import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.serve.conftest import LIMITS, photo_of
from tests.serve.running import Running, form, request, running

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


CHUNKED = [("Content-Type", "image/png"), ("Transfer-Encoding", "chunked")]
CUT = [("Content-Type", "image/png"), ("Content-Length", "9")]
# What is sent, whether the client then says that no more comes, and what each answer is logged as: method, path, status.
ANSWERED: list[tuple[bytes, bool, list[tuple[str | None, str | None, int]]]] = [
    (request("GET", "/livez"), False, [("GET", "/livez", 200)]),
    (request("HEAD", "/livez"), False, [("HEAD", "/livez", 200)]),
    (request("HEAD", "/predict"), False, [("HEAD", "/predict", 405)]),
    (request("POST", "/predict", PHOTO, [("Content-Type", "image/png")]), False, [("POST", "/predict", 200)]),
    (b"not HTTP\r\n\r\n", False, [(None, None, 400)]),
    (b"GET / HTTP/1.1\r\nHost: x\r\n", False, [(None, None, 408)]),
    (b"", False, [(None, None, 408)]),
    (request("POST", "/predict", b"x", CUT), True, [("POST", "/predict", 400)]),
    (request("POST", "/predict", b"x", CUT), False, [("POST", "/predict", 408)]),
    (request("POST", "/predict", b"zz\r\n", CHUNKED), False, [("POST", "/predict", 400)]),
    (request("GET", "/livez") + b"not HTTP\r\n\r\n", False, [("GET", "/livez", 200), (None, None, 400)]),
]


def test_each_answer_is_one_line_and_one_count(sources: dict[str, Path]):
    expected = [line for _, _, lines in ANSWERED for line in lines]
    with running(sources["onnx"], options=LIMITS) as server:
        for sent, half_close, lines in ANSWERED:
            answer = server.exchange(sent, half_close=half_close, is_head=sent.startswith(b"HEAD"))
            assert answer.status == lines[0][2], sent
        end = time.monotonic() + 30
        while len(server.log) < len(expected):
            assert time.monotonic() < end, server.log
        counts = re.findall(
            r'^allmlp_requests_total{route="(.+)",status="(.+)"} (\d+)\.0$',
            server.ask("GET", "/metrics").body.decode(),
            re.MULTILINE,
        )
        lines = [json.loads(line) for line in server.log[: len(expected)]]
    found = [(line["method"], line["path"], line["status"]) for line in lines]
    assert sorted(found, key=str) == sorted(expected, key=str)
    assert {line["client"] for line in lines} == {"127.0.0.1"}
    assert all(0 <= line["ms"] < 30_000 for line in lines)
    totals = {(route, int(status)): int(count) for route, status, count in counts}
    by_route = [(path if path in ("/livez", "/predict") else "other", status) for _, path, status in expected]
    assert totals == {key: by_route.count(key) for key in by_route}
