"""A pair of image and text as one file: JSON with the image's bytes as base64, and the text.

So an example is what a live input is: a photo and its question travel, are logged, and are learned
from once more together, and nothing in such a file names another file. Whatever `image` holds is
decoded, never opened.
"""

from __future__ import annotations

import base64
import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from regraft.data.files import atomic_write
from regraft.data.images import DEFAULT_MAX_PIXELS, from_base64, inspect_picture
from regraft.data.rejection import RejectedError, told_to_user
from regraft.data.texts import (
    DEFAULT_MAX_CHARACTERS,
    checked,
    flags_of,
    same_question,
    statistics_of,
)

FIELDS = ("image", "text")
FORM = '{"image": base64 or data: address, "text": ...}, one of them may be left out'


@dataclass(frozen=True)
class PairFile:
    """The bytes of an image file and a cleaned text; None where one is missing."""

    image: bytes | None
    text: str | None

    def to_bytes(self) -> bytes:
        """The file; the same pair is always the same bytes."""
        image = None if self.image is None else base64.b64encode(self.image).decode("ascii")
        given = zip(FIELDS, (image, self.text), strict=True)
        content = {name: value for name, value in given if value is not None}
        return json.dumps(content, ensure_ascii=False, sort_keys=True).encode()

    @property
    def image_digest(self) -> str:
        """What pairs with the same image share; '' without one."""
        return "" if self.image is None else hashlib.sha256(self.image).hexdigest()[:16]


def parsed(data: bytes | str, *, max_characters: int = DEFAULT_MAX_CHARACTERS) -> PairFile:
    """The pair in the content of such a file.

    Raises RejectedError: not_a_pair, empty_pair (neither image nor text), or what is wrong with the
    text (see `texts.checked`). The image is not decoded yet.
    """
    try:
        content = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise RejectedError("not_a_pair", f"no JSON: {error}") from error
    if not isinstance(content, dict) or set(content) - {*FIELDS}:
        raise RejectedError("not_a_pair", f"not of the form {FORM}")
    if any(not isinstance(value, str | None) for value in content.values()):
        raise RejectedError("not_a_pair", "image and text must be texts")
    image, text = (content.get(name) or None for name in FIELDS)
    if image is None and (text is None or not text.strip()):
        raise RejectedError("empty_pair", "it has neither an image nor a text")
    return PairFile(
        None if image is None else _decoded(image),
        None if text is None else checked(text, max_characters=max_characters),
    )


def open_pair(source: bytes | str) -> PairFile:
    """The same for what a user sends. Raises UserError."""
    shown = repr(source[:60])
    with told_to_user("pair of image and text", where=shown, expected=FORM):
        return parsed(source)


def stored_pair(pair: PairFile, store: Path) -> Path:
    """The file of this pair in a store, named after its content; written where it is not there."""
    data = pair.to_bytes()
    name = hashlib.sha256(data).hexdigest()
    path = store / name[:2] / f"{name}.json"
    if not path.is_file():
        atomic_write(path, lambda temporary: temporary.write_bytes(data))
    return path


def inspect_pair(
    path: Path,
    *,
    max_pixels: int = DEFAULT_MAX_PIXELS,
    min_side: int = 1,
    max_characters: int = DEFAULT_MAX_CHARACTERS,
) -> dict[str, Any]:
    """Measure the file of one pair: what `images.inspect_image` and `texts.inspect_text` find.

    The perceptual hash is that of the image, mixed with one of the words: near-duplicates ask the
    same of the same scene. Two questions about one photo are none; their common `group` keeps them
    on one side of a split. To learn from, a pair needs both: no_image and no_text are reasons.

    Raises OSError when the file itself cannot be read.
    """
    data = Path(path).read_bytes()
    facts: dict[str, Any] = {"size": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    try:
        pair = parsed(data, max_characters=max_characters)
        if pair.image is None or pair.text is None:
            missing = "image" if pair.image is None else "text"
            raise RejectedError(f"no_{missing}", f"the pair has no {missing}")
        picture = inspect_picture(pair.image, max_pixels=max_pixels, min_side=min_side)
    except RejectedError as error:
        return facts | {"reason": error.reason, "detail": error.detail}
    flags = {*filter(None, picture["quality_flags"].split(",")), *flags_of(pair.text)}
    return {
        **facts,
        **picture,
        **statistics_of(pair.text),
        "perceptual_hash": _mixed(picture["perceptual_hash"], same_question(pair.text)),
        "quality_flags": ",".join(sorted(flags)),
    }


def _mixed(image: str, text: str) -> str:
    """Hex of 256 bits; '' where either has nothing to compare. Equal words leave the distance of
    the images; other words make it that of chance, 128 bits."""
    if not image or not text:
        return ""
    bits = [np.frombuffer(bytes.fromhex(one), np.uint8) for one in (image, text)]
    return (bits[0] ^ bits[1]).tobytes().hex()


def _decoded(text: str) -> bytes:
    try:
        return from_base64(text)
    except ValueError as error:
        raise RejectedError("not_a_pair", f"the image is not base64: {text[:40]!r}") from error
