"""What uvicorn's HTTP protocol leaves open: slow heads, half-closed clients, JSON errors."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

HEAD_SECONDS = 10.0
"""Time that a connection may take to send the head of its (next) request."""


class PatientProtocol(H11Protocol):
    """H11 with a bound on the head's time; h11 itself bounds its bytes (64 kB).

    A client that closes its sending half behind a whole request still gets its answer.
    """

    head_seconds = HEAD_SECONDS
    _head_timer: asyncio.TimerHandle | None = None
    _half_closed = False

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._expect_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_waiting()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.cycle is not None and not self.cycle.response_complete:
            self._stop_waiting()
        elif self._head_timer is None:
            self._expect_head()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self._half_closed:
            self.transport.close()

    def eof_received(self) -> bool:  # type: ignore[override]
        """True keeps our half open."""
        cycle = self.cycle
        self._half_closed = cycle is not None and not (cycle.more_body or cycle.response_complete)
        return self._half_closed

    def send_400_response(self, msg: str) -> None:
        problem = {
            "code": "malformed",
            "message": msg,
            "where": "",
            "got": "",
            "expected": "HTTP/1.1",
        }
        body = json.dumps({"error": {**problem, "fix": ""}}).encode()
        headers = [
            (b"content-type", b"application/json"),
            (b"content-length", str(len(body)).encode()),
            (b"connection", b"close"),
        ]
        for event in (
            h11.Response(status_code=400, headers=headers, reason=b"Bad Request"),
            h11.Data(data=body),
            h11.EndOfMessage(),
        ):
            self.transport.write(self.conn.send(event) or b"")
        self.transport.close()

    def _expect_head(self) -> None:
        self._head_timer = self.loop.call_later(self.head_seconds, self.transport.close)

    def _stop_waiting(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None
