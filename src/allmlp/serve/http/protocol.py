"""HTTP/1.1 by uvicorn and h11, with what they leave open: slow clients, cut bodies, and a shutdown that fails nobody."""

import asyncio
import json
from collections.abc import Callable
from typing import Any, ClassVar, cast

import h11
from uvicorn.protocols.http.flow_control import CLOSE_HEADER
from uvicorn.protocols.http.h11_impl import H11Protocol

from allmlp.serve.http.gate import REFUSED
from allmlp.serve.problems import Problem

__all__ = ["NoteRefusal", "TimedProtocol", "protocol_class"]

NoteRefusal = Callable[[str | None, int, float], None]
"""Counts and logs an answer to what is not a request, by the client's address, the status, and the seconds since it began."""

_LINGER_S = 5.0  # for a body that was refused before its end: closing at once would take the answer from the client
_DRAIN_S = 2.0  # for a request that was sent before its client saw that the server stops


def protocol_class(
    header_timeout_s: float, answer_timeout_s: float, note_refusal: NoteRefusal | None = None
) -> type["TimedProtocol"]:
    """Return the protocol of one server: its time limits for headers and for clients that read no answer, and what it notes."""
    values: dict[str, Any] = {"header_timeout_s": header_timeout_s, "answer_timeout_s": answer_timeout_s}
    if note_refusal is not None:
        values["note_refusal"] = staticmethod(note_refusal)
    return type("ServersProtocol", (TimedProtocol,), values)


class TimedProtocol(H11Protocol):
    """A connection.

    Attributes:
        header_timeout_s: seconds that a client has for its headers.
        answer_timeout_s: seconds in which a client must read some of an answer that waits for it.
        is_stopping: whether the server stops, which new connections learn from it.
    """

    header_timeout_s: ClassVar[float] = 10.0
    answer_timeout_s: ClassVar[float] = 30.0
    is_stopping: ClassVar[bool] = False
    _begun = 0.0
    _timer: asyncio.TimerHandle | None = None
    _reading_timer: asyncio.TimerHandle | None = None
    _is_draining = False

    @staticmethod
    def note_refusal(client: str | None, status: int, seconds: float) -> None:
        """Take note of what is answered without the app: a `NoteRefusal`."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        transport.set_write_buffer_limits(high=0)  # `pause_writing` for every byte that its client does not take
        if self.is_stopping:
            self.shutdown()
        else:
            self._wait_for_headers()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_timer()
        self._stop_reading_timer()
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        """Give the client time: one that reads nothing would hold its answer, and a shutdown, for good."""
        super().pause_writing()
        self._wait_for_reader()

    def resume_writing(self) -> None:
        self._stop_reading_timer()
        super().resume_writing()

    def data_received(self, data: bytes) -> None:
        if self._timer is None and not self._is_answering:
            self._wait_for_headers()
        super().data_received(data)

    def handle_events(self) -> None:
        super().handle_events()
        if self._is_answering:
            self._stop_timer()
            if self._is_draining:
                self._close_after_answer()

    def eof_received(self) -> None:
        """Answer a body that its client cut short; the transport is closed after this."""
        if self._is_answering and self.cycle.more_body and not self.cycle.response_started:
            self._refuse(Problem(400, "cut_body", "The body ended before its announced end."))
        super().eof_received()

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002 - h11's words are for its programmers
        """Answer what is not HTTP."""
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            self._refuse(Problem(400, "bad_http", "This is not a valid HTTP request, or its headers are too long."))
        else:
            self.transport.close()

    def on_response_complete(self) -> None:
        self._begun = self.loop.time()  # for a request that has arrived already
        super().on_response_complete()
        if not self.transport.is_closing() and self.conn.their_state is h11.SEND_BODY:
            self._restart_timer(_LINGER_S, self.transport.close)

    def shutdown(self) -> None:
        """Close an idle connection after a moment, and another one after its answer."""
        self._is_draining = True
        if self._is_answering:
            super().shutdown()
            self._close_after_answer()
        else:
            self._restart_timer(_DRAIN_S, self.transport.close)

    @property
    def _is_answering(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _close_after_answer(self) -> None:
        self.cycle.keep_alive = False
        if CLOSE_HEADER not in self.cycle.default_headers:
            self.cycle.default_headers = [*self.cycle.default_headers, CLOSE_HEADER]

    def _wait_for_headers(self) -> None:
        self._begun = self.loop.time()
        self._restart_timer(self.header_timeout_s, self._headers_are_late)

    def _restart_timer(self, seconds: float, function: Callable[[], object]) -> None:
        self._stop_timer()
        self._timer = self.loop.call_later(seconds, function)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _wait_for_reader(self) -> None:
        size = self.transport.get_write_buffer_size()
        self._reading_timer = self.loop.call_later(self.answer_timeout_s, self._check_reader, size)

    def _check_reader(self, size: int) -> None:
        if self.transport.get_write_buffer_size() < size:
            self._wait_for_reader()
        else:
            self.transport.abort()

    def _stop_reading_timer(self) -> None:
        if self._reading_timer is not None:
            self._reading_timer.cancel()
            self._reading_timer = None

    def _headers_are_late(self) -> None:
        if self.conn.our_state is h11.IDLE:
            self._refuse(
                Problem(408, "slow_headers", f"The headers did not arrive within {self.header_timeout_s:g} seconds.")
            )
        else:
            self.transport.close()

    def _refuse(self, problem: Problem) -> None:
        """Send an error without the app, and close. The app notes it if it is reading this request."""
        body = json.dumps(problem.body).encode()
        headers = [
            ("content-type", "application/json"),
            ("content-length", str(len(body))),
            ("x-content-type-options", "nosniff"),
            ("connection", "close"),
        ]
        if self._is_answering:
            cast(dict[str, Any], self.cycle.scope)[REFUSED] = problem.status
        else:
            self.note_refusal(self.client[0] if self.client else None, problem.status, self.loop.time() - self._begun)
        if self.cycle is not None:
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        for event in (
            h11.Response(status_code=problem.status, headers=headers),
            h11.Data(data=body),
            h11.EndOfMessage(),
        ):
            self.transport.write(self.conn.send(event) or b"")
        self.transport.close()
