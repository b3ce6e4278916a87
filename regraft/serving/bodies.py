"""The body of a request, as long as it may be and as slow as it may come."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

from regraft.serving.problems import Refused, busy

if TYPE_CHECKING:
    from starlette.requests import Request

_DRAINED = 8  # times the limit: read and thrown away so that the client can read our answer


class BodyReader:
    """Reads bodies; all that are held at one moment together have a bound too."""

    def __init__(self, *, max_bytes: int, max_bytes_together: int, seconds: float) -> None:
        self.max_bytes, self.max_bytes_together = max_bytes, max_bytes_together
        self.seconds = seconds
        self.held = 0

    async def read(self, request: Request) -> bytes:
        """The whole body. The caller owes `release(len(body))` when it has done with it.

        Raises `Refused` (413, 408, 503) and starlette's `ClientDisconnect`.
        """
        chunks = bytearray()
        try:
            async with asyncio.timeout(self.seconds):
                announced = _announced(request)
                if announced > self.max_bytes:
                    await self._throw_away(request)
                    raise self._too_long(f"{announced:,} bytes")
                async for chunk in request.stream():
                    self._hold(len(chunk))
                    chunks += chunk
                    if len(chunks) > self.max_bytes:
                        raise self._too_long(f"more than {self.max_bytes:,} bytes")
            return bytes(chunks)
        except TimeoutError as error:
            self.release(len(chunks))
            raise Refused(
                408,
                "too_slow",
                "the request took too long to arrive",
                got=f"{len(chunks):,} bytes after {self.seconds:g} s",
                expected=f"all of it within {self.seconds:g} s",
                headers={"connection": "close"},
            ) from error
        except BaseException:
            self.release(len(chunks))
            raise

    def release(self, size: int) -> None:
        """The body of this size is no longer held."""
        self.held -= size

    def _hold(self, size: int) -> None:
        if self.held + size > self.max_bytes_together:
            raise busy(
                "too many requests are being received",
                got=f"{self.held:,} bytes of other requests",
                expected=f"at most {self.max_bytes_together:,} bytes together",
            )
        self.held += size

    async def _throw_away(self, request: Request) -> None:
        """Closing at once would reset the connection before the client has read why."""
        if "expect" in request.headers:
            return  # it waits for our word before it sends the body
        thrown = 0
        stream: AsyncIterator[bytes] = request.stream()
        async for chunk in stream:
            thrown += len(chunk)
            if thrown > _DRAINED * self.max_bytes:
                return

    def _too_long(self, got: str) -> Refused:
        return Refused(
            413,
            "too_large",
            "the request is too long",
            got=got,
            expected=f"at most {self.max_bytes:,} bytes",
            fix="send a smaller image, or fewer at once (serving.max_request_bytes)",
            headers={"connection": "close"},
        )


def _announced(request: Request) -> int:
    text = request.headers.get("content-length", "")
    return int(text) if text.isdecimal() else 0
