"""Everything behind the routes: admit, receive, decode, batch, log, answer."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

from regraft.errors import UserError
from regraft.monitoring.record import CHAMPION, Record
from regraft.progress import note
from regraft.recipe.serving import ServingOptions
from regraft.serving import labels, recording
from regraft.serving.batching import Batcher
from regraft.serving.bodies import BodyReader
from regraft.serving.following import Follower
from regraft.serving.inputs import parse
from regraft.serving.labels import AddLabels
from regraft.serving.loaded import LoadedModel
from regraft.serving.problems import Refused, busy, of_input
from regraft.serving.recording import AnswerLog, Item
from regraft.serving.shadow import Shadow
from regraft.serving.telemetry import Telemetry

if TYPE_CHECKING:
    from starlette.requests import Request

_MAX_DECODERS = 8
_CHATS = 2  # replies that are made at once
_BODIES_TOGETHER = 32  # times the longest body


class Service:
    """Answers requests with the version that `follower` holds.

    `log` gets every answer before the client does; None for a server that keeps none.
    `add_labels` keeps what /feedback is told. Call `start` before and `stop` after use.
    """

    def __init__(
        self,
        follower: Follower,
        options: ServingOptions,
        *,
        log: AnswerLog | None,
        telemetry: Telemetry,
        challenger: Follower | None = None,
        add_labels: AddLabels | None = None,
    ) -> None:
        self.follower, self.options, self.log = follower, options, log
        self.telemetry, self.challenger = telemetry, challenger
        self._add_labels = add_labels
        self._labels = ThreadPoolExecutor(1, thread_name_prefix="regraft-labels")
        self.started = int(time.time())
        self.stopping = False
        self.log_problem = ""
        self._at_work = 0
        self._decoding = 0
        self._decoders = ThreadPoolExecutor(
            min(_MAX_DECODERS, 2 * (os.cpu_count() or 1)), thread_name_prefix="regraft-decode"
        )
        self.chats = ThreadPoolExecutor(_CHATS, thread_name_prefix="regraft-chat")
        self._bodies = BodyReader(
            max_bytes=options.max_request_bytes,
            max_bytes_together=_BODIES_TOGETHER * options.max_request_bytes,
            seconds=options.receive_seconds,
        )

    def start(self) -> None:
        """Load the model (raises `UserError`), begin to follow the alias and to take requests."""
        options = self.options
        self.follower.start()
        self.batcher: Batcher[Item, dict[str, Any]] = Batcher(
            self._answer,
            max_batch=options.max_batch,
            max_waiting=options.max_queue,
            window_seconds=options.batch_window_ms / 1000,
            coming=lambda: self._decoding,
        )
        self.shadow: Shadow | None = None
        if self.challenger is not None:
            self.challenger.start()
            self.shadow = Shadow(
                self.challenger,
                share=options.shadow_share,
                max_pixels=options.max_image_pixels,
                log=self.log,
                telemetry=self.telemetry,
                idle=lambda: self.batcher.idle and not self._decoding,
            )
        self.telemetry.watch(
            "regraft_queue_inputs", "Inputs that wait for the model", lambda: self.batcher.waiting
        )
        self.telemetry.watch(
            "regraft_requests_at_work", "Requests admitted and not answered", lambda: self._at_work
        )
        self.telemetry.watch(
            "regraft_registry_unseen_seconds",
            "Seconds since the registry last answered",
            lambda: self.follower.seconds_unseen,
        )
        self.telemetry.watch(
            "regraft_model_load_failures",
            "Versions that were found and could not be loaded",
            lambda: self.follower.failed_loads,
        )

    def stop(self) -> None:
        """Answer what waits, then seal the log."""
        self.stopping = True
        self.follower.stop()
        for other in (self.challenger, self.shadow):
            if isinstance(other, Follower):
                other.stop()
            elif other is not None:
                other.close()
        if not self.batcher.close(self.options.drain_seconds):
            note("some requests were not answered in time")
        for pool in (self._decoders, self._labels, self.chats):
            pool.shutdown(wait=False, cancel_futures=True)
        if self.log is not None:
            self.log.close()

    @property
    def model(self) -> LoadedModel:
        """The version in use."""
        assert self.follower.current is not None  # start() loads one or raises
        return self.follower.current

    @property
    def at_work(self) -> int:
        """Requests admitted and not answered."""
        return self._at_work

    @property
    def bytes_held(self) -> int:
        """Bytes of all bodies in memory."""
        return self._bodies.held

    @asynccontextmanager
    async def received(self, request: Request) -> AsyncIterator[bytes]:
        """The body of a request that is admitted and counted until the context ends.

        Raises `Refused` when there are too many, or the body is too long or too slow.
        """
        with self._admitted():
            body = await self._bodies.read(request)
            try:
                yield body
            finally:
                self._bodies.release(len(body))

    async def feedback(self, request: Request) -> dict[str, Any]:
        """Keep the labels of a request. Reading the log takes a while, so one after the other, in
        a thread that predictions don't need. Raises `UserError`."""
        async with self.received(request) as body:
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(self._labels, labels.add, body, self._add_labels)

    async def predict(self, request: Request) -> tuple[dict[str, Any], list[Item]]:
        """The answer to a request, and its items for `after`.

        One answer when the body itself was the input, else {"predictions": [...]}.

        Raises `Refused` for everything that is not answered.
        """
        async with self.received(request) as body, timed_out(self.options.request_seconds):
            return await self._answered(request.headers.get("content-type", ""), body)

    async def recorded(self, model: LoadedModel, data: bytes) -> tuple[dict[str, Any], Item]:
        """The answer to one input, which is in the log then, and its item for `after`.

        Raises `UserError` when the task cannot use it.
        """
        loop = asyncio.get_running_loop()
        prepared = partial(recording.prepare, max_pixels=self.options.max_image_pixels)
        item = await loop.run_in_executor(self._decoders, prepared, model, data)
        (future,) = self.batcher.submit(model, [item])
        return await asyncio.wrap_future(future), item

    async def after(self, items: Sequence[Item]) -> None:
        """What is done once the answer was sent: the challenger gets its share."""
        if self.shadow is None:
            return
        for item in items:
            if self.shadow.wants(item.input_hash):
                self.shadow.offer(item)

    @contextmanager
    def _admitted(self) -> Iterator[None]:
        if self.stopping or self._at_work >= self.options.max_queue:
            raise busy(
                "the server is stopping" if self.stopping else "too many requests at once",
                got=f"{self._at_work} at work",
                expected=f"at most {self.options.max_queue}",
            )
        self._at_work += 1
        try:
            yield
        finally:
            self._at_work -= 1

    async def _answered(self, content_type: str, body: bytes) -> tuple[dict[str, Any], list[Item]]:
        model = self.model
        self._decoding += 1
        try:
            loop = asyncio.get_running_loop()
            items, alone = await loop.run_in_executor(
                self._decoders, self._items, model, content_type, body
            )
        finally:
            self._decoding -= 1  # before it is queued: it must not be waited for by itself
        futures = self.batcher.submit(model, items)
        answers = await asyncio.gather(*map(asyncio.wrap_future, futures))
        return (answers[0] if alone else {"predictions": list(answers)}), items

    def _items(self, model: LoadedModel, content_type: str, body: bytes) -> tuple[list[Item], bool]:
        options = self.options
        parsed = parse(
            content_type,
            body,
            from_text=model.predictor.from_text,
            fields=model.predictor.fields,
            max_inputs=options.max_inputs,
        )
        items = []
        for given in parsed.inputs:
            try:
                item = recording.prepare(model, given.data, max_pixels=options.max_image_pixels)
            except UserError as error:
                raise of_input(error, where=given.where) from error
            items.append(item)
        return items, parsed.alone

    def _answer(self, items: list[Item]) -> list[dict[str, Any]]:
        """One batch, in the worker's thread: nothing is answered that is not in the log."""
        answers, records = recording.answer(items, role=CHAMPION)
        if self.log is not None:
            self._write(records, [item.data for item in items])
        self.telemetry.batch_size.observe(len(items))
        for record in records:
            self.telemetry.answers.labels(record.version, record.role, record.label).inc()
            self.telemetry.confidence.observe(record.confidence)
        return answers

    def _write(self, records: list[Record], inputs: list[bytes]) -> None:
        assert self.log is not None
        try:
            self.log.append(records, inputs if self.options.keep_inputs else None)
        except OSError as error:
            self.telemetry.log_failures.inc(len(records))
            self.log_problem = f"{time.strftime('%FT%TZ', time.gmtime())}: {error}"[:300]
            raise Refused(
                503,
                "log_unavailable",
                "the answer could not be written to the prediction log, so it is not given",
                got=str(error)[:200],
                expected="a disk with space",
                fix="make room on the server's disk, then send it again",
                headers={"retry-after": "5"},
            ) from error
        self.log_problem = ""


@asynccontextmanager
async def timed_out(seconds: float) -> AsyncIterator[None]:
    """Raises `Refused` (504) when what is inside has not ended by then."""
    try:
        async with asyncio.timeout(seconds):
            yield
    except TimeoutError as error:
        raise Refused(
            504,
            "timeout",
            "the answer took too long",
            got=f"none after {seconds:g} s",
            expected="an answer",
            fix="send fewer inputs at once, or later",
        ) from error
