"""From the body of a request to the inputs in it, in the forms that clients use.

Raw bytes with the content type of an image (or application/octet-stream); files of a multipart
form; JSON: {"inputs": [...]}, and what MLflow and KServe clients send: {"instances": [...]},
{"dataframe_records": [...]}, {"dataframe_split": {"columns": ..., "data": ...}}. In JSON an input
is a text (base64 or data: address for images), alone or as the only value of a mapping; where an
input has several fields, as a pair of image and text, a mapping of these.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from email.message import Message
from typing import Any

from regraft.errors import UserError
from regraft.serving.problems import Refused, of_input

FromText = Callable[[str], bytes]
_JSON_KEYS = ("inputs", "instances", "dataframe_records", "dataframe_split")
_FORMS = (
    "an image with its content type, a multipart form with files, "
    'or JSON {"inputs": [base64 or data: address, ...]}'
)


@dataclass(frozen=True)
class Given:
    """One input as it came: the bytes, and where in the request they were."""

    data: bytes
    where: str


@dataclass(frozen=True)
class Parsed:
    """The inputs of one request; `alone` when the body itself was the input."""

    inputs: list[Given]
    alone: bool


def parse(
    content_type: str,
    body: bytes,
    *,
    from_text: FromText,
    max_inputs: int,
    fields: Sequence[str] = (),
) -> Parsed:
    """The inputs in a body; `from_text` makes bytes of an input in JSON, `fields` are those of an
    input that has several.

    Raises `Refused` with 400 (malformed), 413 (too many inputs) or 415 (no known form).
    """
    kind = content_type.partition(";")[0].strip().lower()
    if kind == "application/json" or kind.endswith("+json"):
        values = [_whole(value, fields) for value in _values(_json(body))]
        _check_count(len(values), max_inputs)
        return Parsed([_from_json(v, n, from_text) for n, v in enumerate(values)], alone=False)
    if kind == "multipart/form-data":
        return Parsed(_files(content_type, body, max_inputs), alone=False)
    if kind.startswith(("image/", "audio/", "text/")) or kind == "application/octet-stream":
        if not body:
            raise _malformed("the request has no body", got="0 bytes")
        return Parsed([Given(body, "body")], alone=True)
    raise Refused(
        415,
        "unsupported_content_type",
        "the content type says nothing about an input",
        where="header Content-Type",
        got=kind[:80] or "none",
        expected=_FORMS,
        fix="curl -H 'Content-Type: image/jpeg' --data-binary @PHOTO.jpg ADDRESS/predict",
    )


def _json(body: bytes) -> Any:
    try:
        return json.loads(body)
    except (ValueError, RecursionError) as error:
        raise _malformed("the body is not valid JSON", got=str(error)[:200]) from error


def _values(content: Any) -> list[Any]:
    if not isinstance(content, dict):
        raise _malformed("the JSON must be a mapping", got=type(content).__name__)
    found = [key for key in _JSON_KEYS if key in content]
    if len(found) != 1:
        got = ", ".join(str(key)[:40] for key in list(content)[:5]) or "an empty mapping"
        raise _malformed("the JSON must name its inputs once", got=got)
    values = content[found[0]]
    if found[0] == "dataframe_split":
        values = values.get("data") if isinstance(values, dict) else values
    if isinstance(values, dict) and len(values) == 1:  # MLflow: {"inputs": {"image": [...]}}
        values = next(iter(values.values()))
    if not isinstance(values, list) or not values:
        raise _malformed("the inputs must be a list that is not empty", where=found[0])
    return values


def _whole(value: Any, fields: Sequence[str]) -> Any:
    """A mapping of the fields of one input as text, so that it is not taken apart."""
    if isinstance(value, dict) and value and set(value) <= set(fields):
        return json.dumps(value)
    return value


def _from_json(value: Any, number: int, from_text: FromText) -> Given:
    where = f"input {number}"
    while isinstance(value, dict | list) and len(value) == 1:  # {"image": {"b64": ...}}, ["..."]
        value = next(iter(value.values())) if isinstance(value, dict) else value[0]
    if not isinstance(value, str):
        raise _malformed("an input must be a text", where=where, got=type(value).__name__)
    try:
        return Given(from_text(value), where)
    except UserError as error:
        raise of_input(error, where=where) from error


def _files(content_type: str, body: bytes, max_inputs: int) -> list[Given]:
    from python_multipart.exceptions import FormParserError
    from python_multipart.multipart import FormParser

    boundary = _boundary(content_type)
    found: list[Given] = []

    def keep(file: Any) -> None:
        _check_count(len(found) + 1, max_inputs)
        name = (file.file_name or b"").decode("utf-8", "replace")[:100]
        file.file_object.seek(0)
        found.append(Given(file.file_object.read(), f"file {len(found)} ({name})"))
        file.close()

    try:
        parser = FormParser(
            "multipart/form-data",
            lambda field: None,
            keep,
            boundary=boundary,
            config={"MAX_MEMORY_FILE_SIZE": len(body) + 1},  # never spooled to the disk
        )
        parser.write(body)
        parser.finalize()
    except (FormParserError, ValueError) as error:
        raise _malformed("the multipart form is damaged", got=str(error)[:200]) from error
    if not found:
        raise _malformed("the form has no file", expected="at least one part with a filename")
    return found


def _boundary(content_type: str) -> bytes:
    message = Message()
    message["content-type"] = content_type
    boundary = message.get_param("boundary")
    if not isinstance(boundary, str) or not 0 < len(boundary) <= 200:
        raise _malformed("the multipart form names no boundary", where="header Content-Type")
    return boundary.encode("utf-8", "replace")


def _check_count(count: int, max_inputs: int) -> None:
    if count > max_inputs:
        raise Refused(
            413,
            "too_many_inputs",
            "the request has too many inputs",
            got=f"{count}" if count > max_inputs + 1 else f"more than {max_inputs}",
            expected=f"at most {max_inputs}",
            fix="send several requests",
        )


def _malformed(what: str, *, where: str = "", got: str = "", expected: str = _FORMS) -> Refused:
    return Refused(400, "malformed", what, where=where or "body", got=got, expected=expected)
