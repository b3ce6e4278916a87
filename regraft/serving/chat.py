"""Chat completions: a dialogue with the assistant of a champion of question answering.

As with /predict nothing is answered that is not in the prediction log (the last question stands
there as the input), with one exception: a safety reply is given whatever happens, and what raised
it is not kept.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator
from concurrent.futures import Executor
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from starlette.background import BackgroundTask
from starlette.responses import JSONResponse, Response, StreamingResponse

from regraft.errors import UserError
from regraft.monitoring.record import CHAMPION
from regraft.serving import chat_format
from regraft.serving.chat_format import DONE, ChatRequest, as_openai_error, chunk, parse_chat
from regraft.serving.problems import Refused
from regraft.serving.recording import Item
from regraft.serving.service import timed_out

if TYPE_CHECKING:
    from starlette.requests import Request

    from regraft.serving.loaded import LoadedModel
    from regraft.serving.service import Service
    from regraft.tasks.assistant.assistant import Assistant, Writer
    from regraft.tasks.assistant.replies import Reply


_SHARE_OF_TIME = 0.7  # of a request's, which generation may take


class _LeftError(Exception):
    """The client has gone, so the reply is not finished."""


@dataclass(frozen=True)
class _Turn:
    """One request on its way."""

    id: str
    created: int
    model: LoadedModel
    assistant: Assistant
    request: ChatRequest
    items: list[Item]


class Chat:
    """The two routes of OpenAI's API on a service."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._writer = _writer_of(service.options.language_model, service.options.request_seconds)

    async def complete(self, request: Request) -> Response:
        """POST /v1/chat/completions. Raises `Refused` before anything was said."""
        service = self._service
        async with AsyncExitStack() as held:
            body = await held.enter_async_context(service.received(request))
            async with timed_out(service.options.request_seconds):
                turn = await self._turn(parse_chat(body, service.model.name))
                if not turn.request.stream:
                    reply = await self._replied(turn)
                    return self._whole(turn, reply)
            kept = held.pop_all()  # until the stream has ended
        return _Stream(
            self._stream(turn),
            held=kept,
            background=BackgroundTask(service.after, turn.items),
        )

    def models(self) -> list[dict[str, Any]]:
        """What can be talked to: the champion if it has an assistant."""
        model = self._service.model
        if getattr(model.predictor, "assistant", None) is None:
            return []
        return [chat_format.listed(model.name, self._service.started)]

    def model(self, name: str) -> dict[str, Any]:
        """One of them. Raises `Refused` (404) for another name."""
        found = [one for one in self.models() if one["id"] == name]
        if not found:
            raise chat_format.unknown_model(name, self._service.model.name)
        return found[0]

    async def _turn(self, request: ChatRequest) -> _Turn:
        model = self._service.model
        assistant = _assistant_of(model)
        if self._writer is not None:
            assistant = assistant.worded_by(self._writer)
        created, items, id = int(time.time()), [], f"safety-{time.time_ns():x}"
        if await asyncio.to_thread(assistant.raises_alarm, request.messages):
            label = "safety"
            self._service.telemetry.answers.labels(model.version, CHAMPION, label).inc()
        else:
            question = assistant.question(request.messages)
            answer, item = await self._service.recorded(model, question.encode())
            id, items = answer["id"], [item]
        return _Turn(f"chatcmpl-{id}", created, model, assistant, request, items)

    async def _replied(self, turn: _Turn) -> Reply:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(
            self._pool(turn), turn.assistant.reply, turn.request.messages, None
        )

    def _pool(self, turn: _Turn) -> Executor | None:
        """Where the reply is made: a safety reply does not wait behind others."""
        return self._service.chats if turn.items else None

    def _whole(self, turn: _Turn, reply: Reply) -> Response:
        content = chat_format.completion(
            turn.id, turn.created, turn.model.name, turn.request.messages, reply.text,
            _facts(turn, reply),
        )  # fmt: skip
        after = BackgroundTask(self._service.after, turn.items)
        return JSONResponse(content, background=after)

    async def _stream(self, turn: _Turn) -> AsyncIterator[bytes]:
        head = (turn.id, turn.created, turn.model.name)
        yield chunk(*head, {"role": "assistant", "content": ""})
        try:
            async with timed_out(self._service.options.request_seconds):
                async for said in self._said(turn):
                    if isinstance(said, str):
                        yield chunk(*head, {"content": said})
                        continue
                    yield chunk(*head, {}, "stop", regraft=_facts(turn, said))
                    if turn.request.usage_in_stream:
                        counts = chat_format.usage(turn.request.messages, said.text)
                        yield chunk(*head, None, usage=counts)
        except UserError as error:  # what was said is said: the client learns why it ends
            yield chat_format.event(as_openai_error(error))
        yield DONE

    async def _said(self, turn: _Turn) -> AsyncIterator[str | Reply]:
        """The pieces of the reply as they are said in another thread, and the reply."""
        loop, left = asyncio.get_running_loop(), threading.Event()
        pieces: asyncio.Queue[str | None] = asyncio.Queue()

        def say(piece: str) -> None:
            if left.is_set():
                raise _LeftError
            loop.call_soon_threadsafe(pieces.put_nowait, piece)

        working = loop.run_in_executor(
            self._pool(turn), turn.assistant.reply, turn.request.messages, say
        )
        working.add_done_callback(lambda _: pieces.put_nowait(None))
        try:
            while (piece := await pieces.get()) is not None:
                yield piece
            yield await working
        finally:
            left.set()
            working.cancel()


class _Stream(StreamingResponse):
    """Server-sent events; what is `held` for the request is let go when they have ended, also if
    the client never read one."""

    def __init__(self, events: AsyncIterator[bytes], *, held: AsyncExitStack, **more: Any) -> None:
        headers = {"cache-control": "no-cache"}
        super().__init__(events, media_type="text/event-stream", headers=headers, **more)
        self._held = held

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        async with self._held:
            await super().__call__(scope, receive, send)


def _writer_of(language_model: str, request_seconds: float) -> Writer | None:
    """Raises `UserError` when the model cannot be loaded."""
    if not language_model:
        return None
    from regraft.tasks.assistant.generation import LanguageModel

    return LanguageModel.load(language_model, max_seconds=_SHARE_OF_TIME * request_seconds)


def _assistant_of(model: LoadedModel) -> Assistant:
    assistant: Assistant | None = getattr(model.predictor, "assistant", None)
    if assistant is None:
        raise Refused(
            404,
            "no_assistant",
            "this model cannot be talked to",
            where="model",
            got=f"{model.name} version {model.version}",
            expected="a champion of the task question_answering",
            fix="POST /predict",
        )
    return assistant


def _facts(turn: _Turn, reply: Reply) -> dict[str, Any]:
    return {"version": turn.model.version, **reply.facts()}
