"""Right and wrong requests: each has its exact status, and the next good one is answered."""

import base64
import contextlib
import json
import socket
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from tests.data.decoding.faulty_photos import faulty_photos
from tests.serve.conftest import LIMITS, NAMES, photo_of
from tests.serve.running import Answer, Running, answer_on, form, request, running

PHOTO = photo_of(0)
LARGE = faulty_photos()["png of 20,000 x 20,000 pixels"][1]
LIMIT = 1_000_000
JSON = [("Content-Type", "application/json")]
FORM = [("Content-Type", "multipart/form-data; boundary=edge")]
RAW = [("Content-Type", "image/png")]


@dataclass(frozen=True)
class Case:
    """A request as bytes, and the status and the code of its answer."""

    name: str
    sent: bytes
    status: int
    code: str = ""
    half_close: bool = False
    is_head: bool = field(default=False)


def case(
    name: str,
    status: int,
    code: str = "",
    *,
    method: str = "POST",
    path: str = "/predict",
    body: bytes = b"",
    headers: Sequence[tuple[str, str]] = (),
    version: str = "1.1",
) -> Case:
    return Case(name, request(method, path, body, headers, version=version), status, code, is_head=method == "HEAD")


def as_json(*photos: dict[str, object]) -> bytes:
    return json.dumps({"photos": list(photos)}).encode()


def text(content: bytes = PHOTO) -> str:
    return base64.b64encode(content).decode()


def file(name: str, content: bytes = PHOTO) -> tuple[str, bytes]:
    return f'name="photo"; filename="{name}"', content


METHODS = [
    *(
        case(f"{method} {path}", 405, "wrong_method", method=method, path=path)
        for path in ("/predict", "/embed")
        for method in ("GET", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "post")
    ),
    *(
        case(f"{method} {path}", 405, "wrong_method", method=method, path=path)
        for path in ("/info", "/livez", "/metrics", "/")
        for method in ("POST", "DELETE")
    ),
    *(
        case(f"{method} {path}", 200, method=method, path=path)
        for path in (
            "/",
            "/page.js",
            "/photos.js",
            "/style.css",
            "/icon.svg",
            "/info",
            "/livez",
            "/readyz",
            "/metrics",
            "/openapi.json",
        )
        for method in ("GET", "HEAD")
    ),
    *(
        case(f"GET {path}", 404, "not_found", method="GET", path=path)
        for path in (
            "/x",
            "/predict/",
            "/docs",
            "/redoc",
            "/../../etc/passwd",
            "/%2e%2e/%2e%2e/etc/passwd",
            "/page.py",
            "//",
        )
    ),
]
TYPES = [
    *(
        case(f"type {kind}", 200, body=PHOTO, headers=[("Content-Type", kind)])
        for kind in ("image/png", "image/jpeg", "IMAGE/X-ANYTHING", "application/octet-stream", "image/png; q=1")
    ),
    case("no type", 200, body=PHOTO),
    *(
        case(f"type {kind!r}", 415, "unsupported_type", body=PHOTO, headers=[("Content-Type", kind)])
        for kind in (
            "application/x-www-form-urlencoded",
            "text/plain",
            "video/mp4",
            "multipart/mixed; boundary=x",
            "???",
            "",
        )
        if kind
    ),
    case("gzip", 415, "unsupported_encoding", body=PHOTO, headers=[*RAW, ("Content-Encoding", "gzip")]),
    case(
        "gzip before identity",
        415,
        "unsupported_encoding",
        body=PHOTO,
        headers=[*RAW, ("Content-Encoding", "gzip"), ("Content-Encoding", "identity")],
    ),
    case("two types", 400, "bad_http", body=PHOTO, headers=[("Content-Type", "text/plain"), *RAW]),
    case("one type twice", 200, body=PHOTO, headers=[*RAW, *RAW]),
    case("embed", 200, path="/embed", body=PHOTO, headers=RAW),
    case("a parameter of another path", 400, "bad_parameter", path="/embed?top_k=3", body=PHOTO, headers=RAW),
    case("any parameter of health", 200, method="GET", path="/livez?probe=1"),
    case("an unknown parameter", 400, "bad_parameter", path="/predict?verbose=1", body=PHOTO, headers=RAW),
    *(case(f"top_k={k}", 200, path=f"/predict?top_k={k}", body=PHOTO, headers=RAW) for k in (1, 6, 1000)),
    *(
        case(f"top_k={k}", 400, "bad_parameter", path=f"/predict?top_k={k}", body=PHOTO, headers=RAW)
        for k in ("0", "-1", "x", "", "1e9", "99999999999999999999")
    ),
]
FORMS = [
    case("a form", 200, body=form(file("a.png")), headers=FORM),
    case("a form of three", 200, body=form(*[file(f"{index}.png") for index in range(3)]), headers=FORM),
    case("a part named photo", 200, body=form(('name="photo"', PHOTO)), headers=FORM),
    case("unicode in a name", 200, body=form(file("фото 猫 \U0001f600.png")), headers=FORM),
    case("markup in a name", 200, body=form(file("<script>alert(1)</script>.png")), headers=FORM),
    case("a path as a name", 200, body=form(file("../../etc/passwd")), headers=FORM),
    case(
        "a quoted boundary",
        200,
        body=form(file("a")),
        headers=[("Content-Type", 'multipart/form-data; boundary="edge"')],
    ),
    case("a field that is not a file", 400, "bad_form", body=form(('name="top_k"', b"3")), headers=FORM),
    case("no boundary", 400, "bad_form", body=form(file("a")), headers=[("Content-Type", "multipart/form-data")]),
    case("another boundary", 400, "bad_form", body=form(file("a"), boundary="other"), headers=FORM),
    case("a cut form", 400, "bad_form", body=form(file("a"))[:-10], headers=FORM),
    case("a form without parts", 400, body=b"--edge--\r\n", headers=FORM),
    case("a form of too many", 413, "too_many_photos", body=form(*[file("a", b"x")] * 65), headers=FORM),
    case("not a form", 400, "bad_form", body=PHOTO, headers=FORM),
    case("a file that is not a photo in a form", 415, "unsupported_photo", body=form(file("a", b"x")), headers=FORM),
    case("an empty file in a form", 415, "unsupported_photo", body=form(file("a", b"")), headers=FORM),
    case("a cut photo in a form", 422, "bad_photo", body=form(file("a", PHOTO[:60])), headers=FORM),
    case("only cut photos", 422, "bad_photos", body=form(file("a", PHOTO[:60]), file("b", PHOTO[:70])), headers=FORM),
    case("only other files", 415, "unsupported_photo", body=form(file("a", b"x"), file("b", b"y")), headers=FORM),
    case("only large photos", 413, "photo_too_large", body=form(file("a", LARGE), file("b", LARGE)), headers=FORM),
    case("different faults", 422, "bad_photos", body=form(file("a", b"x"), file("b", LARGE)), headers=FORM),
]
JSONS = [
    case("json", 200, body=as_json({"name": "a.png", "base64": text()}), headers=JSON),
    case("json without a name", 200, body=as_json({"base64": text()}), headers=JSON),
    case("base64 in lines", 200, body=as_json({"base64": base64.encodebytes(PHOTO).decode()}), headers=JSON),
    case("base64 among white space", 200, body=as_json({"base64": f" \t{text()}\r\n"}), headers=JSON),
    case("base64 with other space", 422, "bad_base64", body=as_json({"base64": text() + "\u00a0"}), headers=JSON),
    case("empty base64", 415, "unsupported_photo", body=as_json({"base64": ""}), headers=JSON),
    case("json of two", 200, body=as_json({"base64": text()}, {"base64": text()}), headers=JSON),
    case(
        "a lone surrogate",
        200,
        body=b'{"photos": [{"name": "\\ud800", "base64": "%s"}]}' % text().encode(),
        headers=JSON,
    ),
    case(
        "json with a charset",
        200,
        body=as_json({"base64": text()}),
        headers=[("Content-Type", "application/json; charset=utf-8")],
    ),
    *(
        case(f"json {body[:30]!r}", 400, "bad_json", body=body, headers=JSON)
        for body in (
            b"{",
            b"[]",
            b"1",
            b"null",
            b"{}",
            b'{"photos": 1}',
            b'{"photos": [1]}',
            b'{"photos": [{}]}',
            b"\xff\xfe",
            b'{"photos": [{"url": "http://127.0.0.1/"}]}',
            b'{"photos": [{"base64": "", "path": "/etc/passwd"}]}',
            b'{"photos": [{"base64": 1}]}',
            b'{"photos": [{"name": 1, "base64": ""}]}',
            b"[" * 50_000,
        )
    ),
    case("json without photos", 400, "no_photo", body=as_json(), headers=JSON),
    case("not base64", 422, "bad_base64", body=as_json({"base64": "*"}), headers=JSON),
    case("an address as base64", 422, "bad_base64", body=as_json({"base64": "http://127.0.0.1/a.png"}), headers=JSON),
    case("json of a hundred thousand lists", 413, "too_large", body=b"[" + b"[]," * 100_000 + b"[]]", headers=JSON),
    case("brackets and commas in a name", 200, body=as_json({"name": "[{,}]" * 1000, "base64": text()}), headers=JSON),
    case("json of too many", 413, "too_many_photos", body=as_json(*[{"base64": ""}] * 65), headers=JSON),
]
SIZES = [
    case("no body", 415, "unsupported_photo", headers=RAW),
    case("no form", 400, "no_photo", headers=FORM),
    case("no json", 400, "no_photo", headers=JSON),
    case("an announced body that is too large", 413, "too_large", headers=[*RAW, ("Content-Length", str(10**12))]),
    case("a body that is too large", 413, "too_large", body=bytes(LIMIT + 1), headers=RAW),
    case("a body at the limit", 415, "unsupported_photo", body=bytes(LIMIT), headers=RAW),
    case(
        "a chunked body that is too large",
        413,
        "too_large",
        body=b"%x\r\n" % (LIMIT + 1) + bytes(LIMIT + 1) + b"\r\n0\r\n\r\n",
        headers=[*RAW, ("Transfer-Encoding", "chunked")],
    ),
    case(
        "a chunked body",
        200,
        body=b"%x\r\n" % len(PHOTO) + PHOTO + b"\r\n0\r\n\r\n",
        headers=[*RAW, ("Transfer-Encoding", "chunked")],
    ),
    case("a chunk that is not one", 400, body=b"zz\r\n", headers=[*RAW, ("Transfer-Encoding", "chunked")]),
    case("a negative length", 400, "bad_http", headers=[*RAW, ("Content-Length", "-1")]),
    case("two lengths", 400, "bad_http", headers=[*RAW, ("Content-Length", "1"), ("Content-Length", "2")]),
    case(
        "a length and chunks",
        400,
        "bad_http",
        body=b"%x\r\n" % len(PHOTO) + PHOTO + b"\r\n0\r\n\r\n",
        headers=[*RAW, ("Content-Length", "4"), ("Transfer-Encoding", "chunked")],
    ),
    case("HTTP/1.0", 200, body=PHOTO, headers=RAW, version="1.0"),
    Case("headers without end", b"GET / HTTP/1.1\r\nX: " + b"y" * 100_000, 400, "bad_http"),
    case("a long path", 404, "not_found", path="/" + "a" * 20_000),
    Case("no headers", b"POST /predict HTTP/1.1\r\n\r\n", 400, "bad_http"),
    Case("not HTTP", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400, "bad_http"),
    Case("a header without a colon", b"GET / HTTP/1.1\r\nHost: x\r\nnonsense\r\n\r\n", 400, "bad_http"),
    Case("slow headers", b"GET / HTTP/1.1\r\nHost: x\r\n", 408, "slow_headers"),
    Case("no request", b"", 408, "slow_headers"),
    Case("a slow body", request("POST", "/predict", b"x", [*RAW, ("Content-Length", "9")]), 408, "slow_body"),
    Case(
        "a cut body",
        request("POST", "/predict", b"x", [*RAW, ("Content-Length", "9")]),
        400,
        "cut_body",
        half_close=True,
    ),
]
# As bad_inputs has it: what is not read, what is too large, and what is damaged.
OF_FAULTS = {"format": (415, "unsupported_photo"), "limit": (413, "photo_too_large"), "damaged": (422, "bad_photo")}
PHOTOS = [
    case(name, *OF_FAULTS[fault], body=content, headers=RAW) for name, (fault, content) in faulty_photos().items()
]
CASES = [*METHODS, *TYPES, *FORMS, *JSONS, *SIZES, *PHOTOS]


def check(answer: Answer, case: Case) -> None:
    assert answer.status == case.status, answer.body
    if case.status >= 400 and not case.is_head:
        error = answer.json["error"]
        assert set(error) == {"status", "code", "message"}
        assert error["status"] == case.status
        assert error["message"].endswith((".", "}", "jpg", ")."))
        assert "\n" not in error["message"]
        assert "Traceback" not in error["message"]
        assert not case.code or error["code"] == case.code
    assert answer.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_request_has_its_status(server: Running, case: Case):
    check(server.exchange(case.sent, half_close=case.half_close, is_head=case.is_head), case)
    assert server.predict(PHOTO).status == 200


def test_a_wrong_method_and_a_misspelt_parameter_are_named(server: Running):
    def message(answer: Answer) -> str:
        return answer.json["error"]["message"]

    assert message(server.ask("GET", "/predict")) == "/predict takes POST, not GET."
    misspelt = message(server.predict(PHOTO, "/predict?topk=3"))
    assert misspelt == "There is no parameter 'topk'. Did you mean 'top_k'? /predict takes top_k."
    assert message(server.predict(PHOTO, "/embed?top_k=3")).endswith("/embed takes none.")


def test_there_are_as_many_cases_as_the_issue_asks_for():
    assert len(CASES) >= 120
    assert len(PHOTOS) >= 20
    assert len({case.name for case in CASES}) == len(CASES)


def test_64_at_once(server: Running, photos: list[bytes]):
    alone = [server.predict(photo).json for photo in photos]

    def ask(index: int) -> Answer:
        return server.predict(photos[index] if index % 4 else photos[index][:50])

    with ThreadPoolExecutor(64) as pool:
        answers = list(pool.map(ask, range(64)))
    for index, answer in enumerate(answers):
        assert answer.status == (200 if index % 4 else 422)
        assert not index % 4 or answer.json == alone[index]


def test_a_poisoned_photo_among_32_fails_alone(server: Running, photos: list[bytes]):
    alone = [server.predict(photo).json["results"][0]["labels"] for photo in photos[:32]]
    parts = [file(f"{index}.png", photo if index != 7 else b"poison") for index, photo in enumerate(photos[:32])]
    results = server.ask("POST", "/predict", form(*parts), FORM).json["results"]
    assert [result["source"] for result in results] == [f"{index}.png" for index in range(32)]
    assert results[7]["error"]["status"] == 415
    for index, result in enumerate(results):
        assert index == 7 or result["labels"] == alone[index]


def test_clients_get_no_advice_for_the_owner_of_the_server(server: Running):
    panorama = server.predict(faulty_photos()["panorama of 54 megapixels"][1]).json["error"]["message"]
    assert panorama == (
        "It has 12000 x 4500 pixels; the limit is 50,000,000. Send it smaller, or saved again as JPEG or PNG."
    )
    text_file = server.predict(b"not a photo").json["error"]["message"]
    assert text_file == (
        "This is an unknown kind of file, not a photo that can be decoded. Send JPEG, PNG, WebP, GIF, BMP or TIFF."
    )


def test_64_clients_that_announce_bodies_and_send_none_take_no_memory(sources: dict[str, Path]):
    announced = request("POST", "/predict", b"", [*RAW, ("Content-Length", str(LIMIT))])
    options = {**LIMITS, "body_timeout_s": 60.0}
    with running(sources["onnx"], options=options) as server, contextlib.ExitStack() as idle:
        for _ in range(64):
            idle.enter_context(server.connect()).sendall(announced)
        for _ in range(3):
            assert server.predict(PHOTO).status == 200


def test_64_photos_at_once_fit_into_memory_however_small_the_limit_of_one(sources: dict[str, Path]):
    """Of 130 kB each, which is more than eight times the limit of one request, 1 MB."""
    photo = PHOTO + bytes(130_000)  # what follows a photo is passed over
    sent = request("POST", "/predict", photo, RAW)
    options = {**LIMITS, "body_timeout_s": 60.0}
    with running(sources["onnx"], options=options) as server, contextlib.ExitStack() as stack:
        clients = [stack.enter_context(server.connect()) for _ in range(64)]
        for client in clients:
            client.sendall(sent[:-1])
        for client in clients:
            client.sendall(sent[-1:])
        assert {answer_on(client).status for client in clients} == {200}


def test_names_come_back_as_they_were_sent(server: Running):
    for name in ("фото 猫 \U0001f600.png", "<b>&amp;'", "a" * 150):
        answer = server.ask("POST", "/predict", form(file(name)), FORM)
        assert answer.json["results"][0]["source"] == name
    labels = server.predict(PHOTO, "/predict?top_k=6").json["results"][0]["labels"]
    assert {label["label"] for label in labels} == set(NAMES)


def test_a_connection_is_used_again(server: Running):
    with server.connect() as connection:
        for _ in range(3):
            connection.sendall(request("POST", "/predict", PHOTO, RAW))
            assert answer_on(connection).status == 200


def test_an_early_answer_reaches_a_client_that_still_sends(server: Running):
    with server.connect() as connection:
        connection.sendall(request("POST", "/predict", b"", [*RAW, ("Content-Length", str(10**9))]))
        assert answer_on(connection).status == 413
        connection.settimeout(30)
        assert connection.recv(1) == b""  # closed after a while, and not held for as long as the client likes


def test_a_client_that_waits_for_100_gets_a_refusal_instead(server: Running):
    headers = [*RAW, ("Content-Length", str(10**9)), ("Expect", "100-continue")]
    assert server.exchange(request("POST", "/predict", b"", headers)).status == 413
    with server.connect() as connection:
        connection.sendall(
            request("POST", "/predict", b"", [*RAW, ("Content-Length", str(len(PHOTO))), ("Expect", "100-continue")])
        )
        assert connection.recv(100).startswith(b"HTTP/1.1 100 ")
        connection.sendall(PHOTO)
        assert answer_on(connection).status == 200


def test_a_closed_connection_is_not_a_fault(server: Running):
    for sent in (b"", b"GET / HT", request("POST", "/predict", PHOTO, RAW)):
        connection = server.connect()
        connection.sendall(sent)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")  # a reset
        connection.close()
    assert server.predict(PHOTO).status == 200
    assert server.written() == []  # no traceback
