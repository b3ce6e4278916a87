"""The wire format of OpenAI's chat completions, so that every client of it can talk to the server.

Source: the API reference of "Create chat completion" and of its streaming chunks.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from regraft.errors import UserError
from regraft.serving.problems import Refused, of_input

PATH, MODELS = "/v1/chat/completions", "/v1/models"
_ROLES = {"system", "developer", "user", "assistant", "tool", "function"}
_UNSUPPORTED = ("tools", "functions", "tool_choice", "function_call", "audio", "logprobs")
_MAX_MESSAGES = 200
_TOKEN = re.compile(r"\w+|[^\w\s]")
_TYPES = {
    401: "authentication_error",
    404: "invalid_request_error",
    429: "rate_limit_error",
    500: "server_error",
    503: "server_error",
    504: "server_error",
}


@dataclass(frozen=True)
class ChatRequest:
    """A dialogue of {"role", "content"}, and how the client wants the reply."""

    messages: list[dict[str, str]]
    stream: bool
    usage_in_stream: bool


def parse_chat(body: bytes, model: str) -> ChatRequest:
    """The request in a body, for the model of this name.

    Sampling options (temperature, max_tokens, ...) are accepted and change nothing.

    Raises `Refused`: 400 where it is malformed or wants what there is not, 404 for another model.
    """
    try:
        content = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise _malformed("the body is not valid JSON", got=str(error)[:200]) from error
    if not isinstance(content, dict):
        raise _malformed("the JSON must be a mapping", got=type(content).__name__)
    _check_model(content.get("model"), model)
    _check_supported(content)
    messages = content.get("messages")
    if not isinstance(messages, list) or not messages:
        raise _malformed("there are no messages", where="messages", expected="a list, not empty")
    if len(messages) > _MAX_MESSAGES:
        got = f"{len(messages)} messages"
        raise _malformed("the dialogue is too long", "messages", got, f"at most {_MAX_MESSAGES}")
    stream = _flag(content, "stream")
    options = content.get("stream_options") or {}
    if not isinstance(options, dict):
        raise _malformed("stream_options must be a mapping", where="stream_options")
    return ChatRequest(
        [_message(value, number) for number, value in enumerate(messages)],
        stream,
        _flag(options, "include_usage"),
    )


def completion(
    id: str, created: int, model: str, messages: Sequence[dict[str, str]], text: str,
    facts: dict[str, Any],
) -> dict[str, Any]:  # fmt: skip
    """The whole reply at once; `facts` (decision, sources, ...) stand under `regraft`."""
    message = {"role": "assistant", "content": text, "refusal": None}
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}
    return {
        "id": id,
        "object": "chat.completion",
        "created": created,
        "model": model,
        "choices": [choice],
        "usage": usage(messages, text),
        "regraft": facts,
    }


def chunk(
    id: str, created: int, model: str, delta: dict[str, Any] | None, finish: str | None = None,
    **more: Any,
) -> bytes:  # fmt: skip
    """One event of a stream; `delta` None is an event without a choice (that of the usage)."""
    choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
    return event(
        {
            "id": id,
            "object": "chat.completion.chunk",
            "created": created,
            "model": model,
            "choices": [] if delta is None else [choice],
            **more,
        }
    )


def event(content: dict[str, Any]) -> bytes:
    """A server-sent event."""
    return b"data: " + json.dumps(content, ensure_ascii=False).encode() + b"\n\n"


DONE = b"data: [DONE]\n\n"


def usage(messages: Sequence[dict[str, str]], text: str) -> dict[str, int]:
    """Counts of words and punctuation marks: what a language model of any kind would be given and
    would say, without its tokenizer."""
    prompt = sum(len(_TOKEN.findall(message["content"])) for message in messages)
    said = len(_TOKEN.findall(text))
    return {"prompt_tokens": prompt, "completion_tokens": said, "total_tokens": prompt + said}


def listed(model: str, created: int) -> dict[str, Any]:
    """An entry of the list of models."""
    return {"id": model, "object": "model", "created": created, "owned_by": "regraft"}


def as_openai_error(error: UserError) -> dict[str, Any]:
    """{"error": {message, type, param, code}} as OpenAI's clients expect it."""
    refused = of_input(error)
    details = (("got", refused.got), ("expected", refused.expected), ("to mend", refused.fix))
    more = "; ".join(f"{name}: {value}" for name, value in details if value)
    return {
        "error": {
            "message": f"{refused.what} ({more})" if more else refused.what,
            "type": _TYPES.get(refused.status, "invalid_request_error"),
            "param": refused.where or None,
            "code": refused.code,
        }
    }


def is_chat_path(path: str) -> bool:
    """Do clients of OpenAI's API ask here?"""
    model_path = path == MODELS or path.startswith(f"{MODELS}/")
    return path == PATH or (model_path and not path.endswith(":predict"))


def _check_model(named: Any, model: str) -> None:
    if not isinstance(named, str):
        raise _malformed("the request names no model", where="model", expected=model)
    if named != model:
        raise unknown_model(named, model)


def unknown_model(named: str, model: str) -> Refused:
    """The refusal of a name that this server has not."""
    return Refused(
        404,
        "model_not_found",
        "this server has no such model",
        where="model",
        got=named[:100],
        expected=model,
    )


def _check_supported(content: dict[str, Any]) -> None:
    wanted = [name for name in _UNSUPPORTED if content.get(name)]
    if content.get("n") not in (None, 1):
        wanted.append("n")
    form = content.get("response_format")
    if form is not None and not (isinstance(form, dict) and form.get("type") == "text"):
        wanted.append("response_format")
    if wanted:
        raise Refused(
            400,
            "unsupported",
            "the request wants what this server does not do",
            where=wanted[0],
            got=", ".join(wanted),
            expected="one reply as text: n 1, no tools, no log probabilities",
        )


def _flag(values: dict[str, Any], name: str) -> bool:
    value = values.get(name) or False
    if not isinstance(value, bool):
        raise _malformed(f"{name} must be true or false", where=name, got=str(value)[:40])
    return value


def _message(value: Any, number: int) -> dict[str, str]:
    where = f"messages[{number}]"
    if not isinstance(value, dict) or value.get("role") not in _ROLES:
        got = str(value.get("role") if isinstance(value, dict) else type(value).__name__)[:40]
        raise _malformed("a message has no known role", where, got, ", ".join(sorted(_ROLES)))
    return {"role": value["role"], "content": _text(value.get("content"), f"{where}.content")}


def _text(content: Any, where: str) -> str:
    if content is None:
        return ""
    if isinstance(content, str):
        return content
    parts = content if isinstance(content, list) else [content]
    if not all(isinstance(p, dict) and p.get("type") == "text" for p in parts) or not all(
        isinstance(p.get("text"), str) for p in parts
    ):
        expected = 'a text, or parts {"type": "text", "text": ...}'
        raise _malformed("a message is no text", where, type(content).__name__, expected)
    return "\n".join(part["text"] for part in parts)


def _malformed(what: str, where: str = "body", got: str = "", expected: str = "") -> Refused:
    return Refused(400, "malformed", what, where=where, got=got, expected=expected)
