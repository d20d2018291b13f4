"""`Gate`: what every request passes: the key, the headers of every answer, the shape of errors, the log and the counts."""

import hashlib
import hmac
import json
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from allmlp.serve.http.access_log import AccessLog
from allmlp.serve.instruments import Instruments
from allmlp.serve.page.files import PAGE_PATHS
from allmlp.serve.problems import GoneError, Problem, server_fault

__all__ = ["OPEN_PATHS", "REFUSED", "Gate"]

REFUSED = "allmlp.refused"
"""The key of a scope under which the protocol says with which status it has answered a request that the app was reading."""

OPEN_PATHS = frozenset((*PAGE_PATHS, "/livez", "/readyz", "/openapi.json"))
"""Paths that need no key: health, and what is the same for every model. The page asks for the key."""

_GONE = 499  # as nginx logs it; nobody receives it
_NO_ANSWER = 500  # with which servers answer for an app that was cancelled
_OTHER = "other"  # the route of what has none
_CSP = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_HEADERS = [
    (b"content-security-policy", _CSP.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"cross-origin-opener-policy", b"same-origin"),
]


class Gate:
    """An ASGI app around another. `start` is called before each request."""

    def __init__(
        self,
        inner: ASGIApp,
        *,
        api_keys: Sequence[str],
        routes: Sequence[str],
        start: Callable[[], None],
        log: AccessLog,
        instruments: Instruments,
    ):
        self._inner = inner
        self._keys = [_digest(key.encode()) for key in api_keys]
        self._routes = frozenset(routes)
        self._start = start
        self._log, self._instruments = log, instruments

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on a request, unless it lacks the key."""
        if scope["type"] != "http":
            await self._inner(scope, receive, send)
            return
        answer = _Answer(send, is_head=scope["method"] == "HEAD")
        path = scope["path"].removeprefix(scope.get("root_path", ""))  # of an app in which this one is mounted
        start = time.monotonic()
        facts: dict[str, Any] = {}
        scope["allmlp"] = facts
        try:
            self._start()
            _check_framing(scope)
            self._check_key(scope, path)
            asked = {**scope, "method": "GET"} if answer.is_head else scope
            await self._inner(asked, receive, answer.send)
        except Problem as problem:
            await answer.problem(problem)
        except GoneError:
            answer.status = _GONE
        except Exception:
            traceback.print_exc(file=sys.stderr)
            await answer.problem(server_fault())
        finally:
            status = scope.get(REFUSED, answer.status or _NO_ANSWER)
            self._note(scope, path, status, time.monotonic() - start, facts)

    def note_refusal(self, client: str | None, status: int, seconds: float) -> None:
        """Count and log what the protocol answered by itself because it is not a request: no method and no path is known."""
        self._instruments.requests.labels(_OTHER, str(status)).inc()
        self._write_line(client, None, None, status, seconds)

    def _check_key(self, scope: Scope, path: str) -> None:
        if not self._keys or path in OPEN_PATHS:
            return
        headers = dict(scope["headers"])
        given = headers.get(b"x-api-key", b"")
        scheme, _, token = headers.get(b"authorization", b"").partition(b" ")
        if scheme.lower() == b"bearer":
            given = token.strip()
        digest = _digest(given)
        matches = [hmac.compare_digest(digest, key) for key in self._keys]  # all of them, in constant time
        if not any(matches):
            raise Problem(
                401,
                "wrong_key" if given else "no_key",
                "The key is wrong." if given else "This server needs a key: -H 'Authorization: Bearer KEY'.",
                WWW_Authenticate="Bearer",
            )

    def _note(self, scope: Scope, path: str, status: int, seconds: float, facts: dict[str, Any]) -> None:
        route = path if path in self._routes else _OTHER
        self._instruments.requests.labels(route, str(status)).inc()
        self._instruments.request_seconds.labels(route).observe(seconds)
        client = scope.get("client")
        self._write_line(
            client[0] if client else None, scope["method"][:20], scope["path"][:200], status, seconds, **facts
        )

    def _write_line(
        self, client: str | None, method: str | None, path: str | None, status: int, seconds: float, **facts: Any
    ) -> None:
        self._log.add(
            time=datetime.now(UTC).isoformat(timespec="milliseconds"),
            client=client,
            method=method,
            path=path,
            status=status,
            ms=round(1000 * seconds, 2),
            **facts,
        )


def _check_framing(scope: Scope) -> None:
    """Refuse a body with two ends (RFC 9112, 6.1): a proxy that believes the other one takes its rest for another request."""
    names = {name for name, _ in scope["headers"]}
    if {b"content-length", b"transfer-encoding"} <= names:
        raise Problem(400, "bad_http", "The request has both Content-Length and Transfer-Encoding.", Connection="close")


def _digest(key: bytes) -> bytes:
    return hashlib.sha256(key).digest()  # of one length, so that nothing follows from the time of a comparison


class _Answer:
    """Sends an answer with the headers that all have, and remembers its status."""

    def __init__(self, send: Send, *, is_head: bool) -> None:
        self._send = send
        self.is_head = is_head
        self.status = 0

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            message = {**message, "headers": [*message.get("headers", ()), *_HEADERS]}
        elif self.is_head:
            message = {**message, "body": b""}
        await self._send(message)

    async def problem(self, problem: Problem) -> None:
        """Send an error, unless an answer has begun."""
        if self.status:
            return
        body = json.dumps(problem.body).encode()
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
        headers += [(name.lower().encode(), value.encode()) for name, value in problem.headers.items()]
        await self.send({"type": "http.response.start", "status": problem.status, "headers": headers})
        await self.send({"type": "http.response.body", "body": body})
