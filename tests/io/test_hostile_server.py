"""Downloads from a hostile server: false headers, slow or endless answers, redirects. Files and waits stay bounded."""

import gzip
import http.client
import itertools
import json
import os
import ssl
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.servers.hostile import HostileServer, RawRequest, Sent, answer, endless, snapshot

from allmlp import CheckpointError
from allmlp.io.http_client import Patience, UnsafeAnswer, ask, redirected
from allmlp.io.http_download import receive

CONTENT = bytes(range(256)) * 40
LIMIT = 20_000
IMPATIENT = Patience(pause_s=0.1, block_s=0.15, retry_s=0)
ETAG = '"x"'

Reply = Callable[[HostileServer], Sent]


def refusal(reply: Callable[[RawRequest], Sent], folder: Path, *, max_bytes: int = LIMIT) -> str:
    """Return the error of a download, which has to end soon and to leave no more than `max_bytes`."""
    started = time.monotonic()
    with HostileServer(reply) as server, pytest.raises(CheckpointError) as caught:
        receive(f"{server.url}/file", folder / "x.part", max_bytes=max_bytes, patience=IMPATIENT)
    assert time.monotonic() - started < 5
    assert set(snapshot(folder)) <= {"x.part", "x.part.json"}
    assert all((folder / name).stat().st_size <= max_bytes for name in snapshot(folder))
    assert str(caught.value).isprintable()
    return str(caught.value)


@pytest.mark.parametrize(
    ("length", "words"),
    [
        ("absent", "does not announce the size"), ("-1", "does not announce the size"), ("1e3", "does not announce the size"),
        ("٣", "does not announce the size"), ("9" * 5000, "does not announce the size"), ("0x10", "does not announce"),
        ("999999999999999", "more than the limit of 20,000"), ("20001", "more than the limit of 20,000"),
        (str(len(CONTENT) + 1), "cut after 10,240 of 10,241 bytes"),
    ],
    ids=lambda text: text[:20],
)  # fmt: skip
def test_a_length_that_is_not_true_or_not_allowed_ends_the_download(length: str, words: str, tmp_path: Path) -> None:
    length = length.encode().decode("latin-1")
    reply = [answer(body=CONTENT, Content_Length=length, ETag=ETAG)]
    assert words in refusal(lambda _: reply, tmp_path)


def test_two_lengths_are_none(tmp_path: Path) -> None:
    reply = [answer(body=CONTENT, Content_Length=f"10\r\nContent-Length: {len(CONTENT)}", ETag=ETAG)]
    assert "does not announce the size" in refusal(lambda _: reply, tmp_path)


def test_no_more_than_the_announced_size_is_kept(tmp_path: Path) -> None:
    def reply(_: RawRequest) -> Sent:
        return itertools.chain([answer(Content_Length=str(len(CONTENT))), CONTENT], endless(CONTENT))

    with HostileServer(reply) as server:
        receive(f"{server.url}/file", tmp_path / "x.part", max_bytes=LIMIT, patience=IMPATIENT)
    assert (tmp_path / "x.part").read_bytes() == CONTENT


@pytest.mark.parametrize("announced", ["absent", "100", "20000"])
def test_an_endless_chunked_body_ends_at_the_announced_size(announced: str, tmp_path: Path) -> None:
    def reply(_: RawRequest) -> Sent:
        start = answer(Transfer_Encoding="chunked", Content_Length=announced)
        return itertools.chain([start], endless(b"400\r\n" + b"x" * 1024 + b"\r\n"))

    message = refusal(reply, tmp_path)
    assert ("does not announce" if announced == "absent" else f"sends more than {int(announced):,} bytes") in message
    assert not (tmp_path / "x.part").exists()


@pytest.mark.parametrize("size", [b"FFFFFFFFFFFFFFFFFF\r\n", b"-5\r\n", b"x\r\n", b"1" * 100_000], ids=len)
def test_a_chunk_of_absurd_size_is_refused(size: bytes, tmp_path: Path) -> None:
    assert refusal(lambda _: [answer(Transfer_Encoding="chunked", Content_Length="100"), size], tmp_path)


DRIPS: dict[str, Callable[[HostileServer], Sent]] = {
    "nothing": lambda server: server.drip(endless(b""), 0.01),
    "the status line": lambda server: server.drip(endless(b"H")),
    "one header": lambda server: itertools.chain([b"HTTP/1.1 200 OK\r\nX: "], server.drip(endless(b"x"))),
    "headers": lambda server: itertools.chain([b"HTTP/1.1 200 OK\r\n"], server.drip(endless(b"X: 1\r\n"), 0.05)),
    "interim answers": lambda server: endless(b"HTTP/1.1 100 Continue\r\n\r\n"),
    "slow interim answers": lambda server: server.drip(endless(b"HTTP/1.1 100 Continue\r\nX: y\r\n\r\n")),
    "a body": lambda server: itertools.chain([answer(Content_Length="10000")], server.drip(endless(b"x"))),
    "a chunk's size": lambda server: itertools.chain(
        [answer(Content_Length="100", Transfer_Encoding="chunked")], server.drip(endless(b"0"))
    ),
    "trailers": lambda server: itertools.chain(
        [answer(Content_Length="100", Transfer_Encoding="chunked"), b"0\r\n"], endless(b"X: y\r\n")
    ),
}


@pytest.mark.parametrize("what", DRIPS)
def test_what_drips_or_never_ends_is_given_up(what: str, tmp_path: Path) -> None:
    holder: list[HostileServer] = []
    with HostileServer(lambda _: DRIPS[what](holder[0])) as server:
        holder.append(server)
        started = time.monotonic()
        with pytest.raises(CheckpointError, match="could not be downloaded"):
            receive(f"{server.url}/file", tmp_path / "x.part", max_bytes=LIMIT, patience=IMPATIENT)
    assert time.monotonic() - started < 3


@pytest.mark.parametrize(
    "start",
    [
        b"HTTP/1.1 200 OK\r\n" + b"".join(b"X-%d: y\r\n" % number for number in range(100_000)) + b"\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"y" * 1_000_000 + b"\r\n\r\n",
        b"HTTP/1.1 " + b"2" * 1_000_000,
        b"HTTP/9.9 abc\r\n\r\n",
        b"SSH-2.0-OpenSSH_9.9\r\n",
        b"\x00\xff\x1b[31m\r\n\r\n",
        b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\n\r\n",
        b"HTTP/1.1 204 No Content\r\n\r\n",
        b"HTTP/1.1 404 \x1b[2J\xe2\x80\xae gone\r\nContent-Length: 0\r\n\r\n",
    ],
    ids=lambda start: str(len(start)),
)
def test_what_is_hardly_http_is_one_printable_error(start: bytes, tmp_path: Path) -> None:
    assert len(refusal(lambda _: [start], tmp_path)) < 1000


@pytest.mark.parametrize(
    "encoding", ["gzip", "br", "gzip, gzip, gzip", "\x1b[31m", "GZIP", "identity\r\nContent-Encoding: gzip"]
)
def test_compressed_data_are_refused_before_they_are_read(encoding: str, tmp_path: Path) -> None:
    bomb = gzip.compress(bytes(1_000_000))
    assert "sends compressed data" in refusal(lambda _: [answer(body=bomb, Content_Encoding=encoding)], tmp_path)


@pytest.mark.parametrize(
    "target",
    [
        "file:///etc/passwd", "ftp://127.0.0.1/x", "data:text/plain,x", "gopher://127.0.0.1/", "javascript:x", "http://",
        "//", "http://[::1", "", "http://127.0.0.1:99999999/", "http://a b/", "http://x\x1b[2J/", "HTTP:", "file:passwd",
        "http://user@127.0.0.1/", "http://user:secret@127.0.0.1/", "http://127.0.0.1%2f@x/", "http://127.0.0.1%00/", "http://x\\@y/",
    ],
)  # fmt: skip
def test_a_redirect_to_what_is_not_a_web_server_is_refused(target: str, tmp_path: Path) -> None:
    assert "the server redirects " in refusal(lambda _: [answer("302 Found", Location=target)], tmp_path)


def test_a_server_without_a_valid_certificate_is_refused_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def connect(_: http.client.HTTPSConnection) -> None:
        error = ssl.SSLCertVerificationError(1, "certificate verify failed")
        error.verify_message = "self-signed certificate"
        tries.append(error)
        raise error

    tries: list[Exception] = []
    monkeypatch.setattr(http.client.HTTPSConnection, "connect", connect)
    with pytest.raises(CheckpointError, match=r"certificate is not valid \(self-signed certificate\)"):
        receive("https://127.0.0.1/file", tmp_path / "x.part", patience=IMPATIENT)
    assert len(tries) == 1


@pytest.mark.parametrize("target", ["http://host/x", "HTTP://host/x", "ftp://host/x", "file:///x", "http:x"])
def test_https_stays_https(target: str) -> None:
    with pytest.raises(UnsafeAnswer, match="redirects"):
        redirected("https://host/file", target)
    assert redirected("https://host/file", "//other/x") == "https://other/x"
    assert redirected("http://host/file", "https://other/x") == "https://other/x"


@pytest.mark.parametrize("target", ["/file", "/{}", "//127.0.0.1:{port}/x"])
def test_redirects_without_end_are_given_up(target: str, tmp_path: Path) -> None:
    def reply(request: RawRequest) -> Sent:
        port = request.headers["host"].partition(":")[2]
        return [answer("307 Temporary Redirect", Location=target.format(request.path.strip("/") + "x", port=port))]

    assert "redirects more than 10 times" in refusal(reply, tmp_path)


def test_a_secret_is_sent_to_no_other_host() -> None:
    def secret(url: str) -> dict[str, str]:
        return {"Authorization": "secret"} if url.startswith(server.url) else {}

    with (
        HostileServer(lambda _: [answer(body=b"x")]) as other,
        HostileServer(lambda _: [answer("302 Found", Location=f"{other.url}/x")]) as server,
        ask(f"{server.url}/x", patience=IMPATIENT, headers_for=secret) as last,
    ):
        assert b"".join(last.blocks(10)) == b"x"
    assert server.requests[0].headers["authorization"] == "secret"
    assert "authorization" not in other.requests[0].headers


@pytest.mark.parametrize(
    "content_range",
    [
        "bytes 0-99/10240", "bytes 100-199/999", "bytes 1-1/99999999999999", "bytes */10240", "", "bytes 100-\x1b/10240",
        "bytes 100-10239/-1", "bytes --100-5/10240", "bytes 100-10239/" + "9" * 4000,
    ],
)  # fmt: skip
def test_a_wrong_part_of_the_file_is_not_added(content_range: str, tmp_path: Path) -> None:
    def reply(request: RawRequest) -> Sent:
        if "range" in request.headers:
            return [answer("206 Partial Content", CONTENT[:100], Content_Range=content_range, ETag=ETAG)]
        return [answer(body=CONTENT[:100], Content_Length=str(len(CONTENT)), ETag=ETAG)]

    refusal(reply, tmp_path)
    assert CONTENT.startswith((tmp_path / "x.part").read_bytes() if (tmp_path / "x.part").exists() else b"")


@pytest.mark.parametrize("status", ["416 Range Not Satisfiable", "206 Partial Content", "503 Wait", "429 Slow down"])
def test_the_same_answer_for_ever_is_given_up(status: str, tmp_path: Path) -> None:
    with HostileServer(lambda _: [answer(status, Retry_After="99999999")]) as server, pytest.raises(CheckpointError):
        receive(f"{server.url}/file", tmp_path / "x.part", patience=IMPATIENT)
    assert len(server.requests) <= 3


def test_a_file_that_changes_with_every_answer_makes_no_progress(tmp_path: Path) -> None:
    count = itertools.count()

    def reply(_: RawRequest) -> Sent:
        return [answer(body=bytes(2 << 20), Content_Length=str(3 << 20), ETag=f'"{next(count)}"')]

    assert "cut after" in refusal(reply, tmp_path, max_bytes=4 << 20)
    assert next(count) <= 5


@pytest.mark.parametrize("validator", ['"a\x1bb"', '"' + "x" * 5000 + '"', '"a\r\n b"', '"\xff"'])
def test_a_validator_that_cannot_be_sent_back_is_not_kept(validator: str, tmp_path: Path) -> None:
    refusal(lambda _: [answer(body=b"x", Content_Length="5", ETag=validator)], tmp_path)
    assert json.loads((tmp_path / "x.part.json").read_text())["validator"] == ""


DEEP = "[" * 100_000
NOTES = {
    "huge size": '{"validator": "\\"x\\"", "size": 1e400}',
    "digits": '{"validator": "\\"x\\"", "size": ' + "9" * 5000 + "}",
    "negative": '{"validator": "\\"x\\"", "size": -5}',
    "NaN": '{"validator": "\\"x\\"", "size": NaN}',
    "true": '{"validator": "\\"x\\"", "size": true}',
    "text": '{"validator": "\\"x\\"", "size": "10240"}',
    "beyond the limit": '{"validator": "\\"x\\"", "size": 20001}',
    "deep": DEEP,
    "deep inside": '{"validator": ' + DEEP,
    "line break": '{"validator": "\\"x\\r\\nEvil: 1\\"", "size": 10240}',
    "control": '{"validator": "\\u0000", "size": 10240}',
    "not latin": '{"validator": "\\u202e", "size": 10240}',
    "number": '{"validator": 5, "size": 10240}',
    "empty": '{"validator": "", "size": 10240}',
    "digests": '{"validator": "\\"x\\"", "size": 10240, "md5": 5}',
    "no digests": '{"validator": "\\"x\\"", "size": 10240, "md5": [[]]}',
    "not UTF-8": b"\xff\xfe{",
    "UTF-16": '{"validator": "x", "size": 10240}'.encode("utf-16"),
    "long": " " * 70_000 + '{"validator": "\\"x\\"", "size": 10240}',
    "list": "[1]",
    "null": "null",
}


@pytest.mark.parametrize("note", NOTES)
def test_a_note_that_is_not_ours_starts_the_download_anew(note: str, tmp_path: Path) -> None:
    content = NOTES[note]
    (tmp_path / "x.part").write_bytes(b"junk")
    (tmp_path / "x.part.json").write_bytes(content if isinstance(content, bytes) else content.encode())
    fresh_download(tmp_path)


def fresh_download(folder: Path) -> None:
    with HostileServer(lambda _: [answer(body=CONTENT, ETag=ETAG)]) as server:
        receive(f"{server.url}/file", folder / "x.part", max_bytes=LIMIT, patience=IMPATIENT)
    assert (folder / "x.part").read_bytes() == CONTENT
    assert ["range" in request.headers for request in server.requests] == [False]


@pytest.mark.parametrize("name", ["x.part", "x.part.json"])
@pytest.mark.parametrize("kind", ["symbolic", "hard", "dangling", "to a device", "loop"])
def test_nothing_is_written_through_a_planted_link(name: str, kind: str, tmp_path: Path) -> None:
    folder = tmp_path / "cache"
    folder.mkdir()
    precious = tmp_path / "precious"
    precious.write_bytes(b"keep")
    (folder / "x.part").write_bytes(CONTENT[:4])
    (folder / "x.part.json").write_text(json.dumps({"validator": ETAG, "size": len(CONTENT)}))
    (folder / name).unlink()
    if kind == "hard":
        os.link(precious, folder / name)
    else:
        targets = {"symbolic": precious, "dangling": tmp_path / "new", "to a device": "/dev/zero", "loop": name}
        (folder / name).symlink_to(targets[kind])
    fresh_download(folder)
    assert precious.read_bytes() == b"keep"
    assert set(snapshot(tmp_path)) == {"cache", "precious", "cache/x.part", "cache/x.part.json"}


@pytest.mark.parametrize("name", ["x.part", "x.part.json"])
def test_a_planted_pipe_does_not_hold_the_download(name: str, tmp_path: Path) -> None:
    (tmp_path / "x.part").write_bytes(b"junk")
    (tmp_path / "x.part.json").write_text(json.dumps({"validator": ETAG, "size": len(CONTENT)}))
    (tmp_path / name).unlink()
    os.mkfifo(tmp_path / name)
    fresh_download(tmp_path)
