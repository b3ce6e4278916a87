"""The one place where texts are opened: checked for validation, cleaned for everyone.

Every question is a file of its own, as every photo is: so the prediction log, a window of files and
a retraining treat both alike. A row of a table is written to a store named after its content.
"""

from __future__ import annotations

import hashlib
import html
import re
import unicodedata
from pathlib import Path
from typing import Any

from regraft.data.files import atomic_write
from regraft.data.language import FUNCTION_WORDS, function_word_share, language_of, words_of
from regraft.data.rejection import RejectedError
from regraft.errors import UserError

DEFAULT_MAX_CHARACTERS = 10_000
DEFAULT_LANGUAGE = "en"

_MARKUP = re.compile(r"</?[a-zA-Z][^<>]{0,200}>|&(?:[a-z]{2,8}|#\d{1,6});")
_EMAIL = re.compile(r"[\w.+-]+@[\w-]+\.[\w.-]*\w")
_PHONE = re.compile(r"(?<![\w.])\+?\(?\d{2,4}\)?(?:[ .-]\d{2,4}){2,4}(?![\w.])")
_FEWEST_PHONE_DIGITS = 9
_LITTLE_WORDS = FUNCTION_WORDS["en"] - set("how what when where which who why".split())


def clean(text: str) -> str:
    """NFC, control characters as spaces, white space collapsed: what model and checks see.

    >>> clean("  What\\x00 is\\tasthma ? ")
    'What is asthma ?'
    """
    plain = "".join(
        " " if unicodedata.category(c) in {"Cc", "Cf", "Cs", "Co"} else c
        for c in unicodedata.normalize("NFC", text)
    )
    return " ".join(plain.split())


def checked(source: bytes | str, *, max_characters: int = DEFAULT_MAX_CHARACTERS) -> str:
    """The cleaned text of bytes (UTF-8) or of a text.

    Raises RejectedError: not_text (no UTF-8), too_long, empty_text (no letter in it).
    """
    try:
        text = source.decode("utf-8-sig") if isinstance(source, bytes) else source
    except UnicodeDecodeError as error:
        raise RejectedError("not_text", "the bytes are not UTF-8 text") from error
    if len(text) > max_characters:
        raise RejectedError(
            "too_long", f"{len(text)} characters, at most {max_characters} are read"
        )
    found = clean(text)
    if not words_of(found):
        raise RejectedError("empty_text", "there is no word in it")
    return found


def open_text(source: bytes | str, *, max_characters: int = DEFAULT_MAX_CHARACTERS) -> str:
    """The same for what a user sends. Raises UserError."""
    try:
        return checked(source, max_characters=max_characters)
    except RejectedError as error:
        shown = source[:80] if isinstance(source, str) else repr(source[:60])
        raise UserError(
            {
                "empty_text": "the text is empty",
                "too_long": "the text is too long",
                "not_text": "the input is not a text",
            }[error.reason],
            got=error.detail if error.reason == "too_long" else f"{error.detail}: {shown!r}",
            expected=f"UTF-8 text of 1 to {max_characters} characters with a word in it",
        ) from error


def inspect_text(path: Path, *, max_characters: int, language: str) -> dict[str, Any]:
    """Measure one text file; `language` is a code of `language.FUNCTION_WORDS`, or '' for any.

    Returns size (bytes), sha256, perceptual_hash (of what is asked, see `same_question`),
    characters, words, function_words (share), quality_flags and reason ''. A rejected text has a
    reason (empty_text, too_long, not_text, other_language), a detail, size and sha256 only.

    Raises OSError when the file itself cannot be read.
    """
    data = Path(path).read_bytes()
    facts: dict[str, Any] = {"size": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    try:
        text = checked(data, max_characters=max_characters)
        _refuse_language(text, language)
    except RejectedError as error:
        return facts | {"reason": error.reason, "detail": error.detail}
    raw = data.decode("utf-8-sig")
    return facts | {
        "perceptual_hash": same_question(text),
        **statistics_of(text, language or DEFAULT_LANGUAGE),
        "quality_flags": ",".join(sorted(flags_of(raw))),
        "reason": "",
        "detail": "",
    }


def statistics_of(text: str, language: str = DEFAULT_LANGUAGE) -> dict[str, float]:
    """What a text looks like in a few numbers, for watching whether live ones still look alike."""
    return {
        "characters": len(text),
        "words": len(words_of(text)),
        "function_words": function_word_share(text, language),
    }


def flags_of(raw: str) -> list[str]:
    """What a person should look at: markup, control_characters, personal_data."""
    found = []
    if _MARKUP.search(raw):
        found.append("markup")
    if any(unicodedata.category(c) == "Cc" and c not in "\t\n\r" for c in raw):
        found.append("control_characters")
    if has_personal_data(raw):
        found.append("personal_data")
    return found


def has_personal_data(text: str) -> bool:
    """Whether there is an e-mail address or a telephone number in a text."""
    phones = (re.sub(r"\D", "", match.group()) for match in _PHONE.finditer(text))
    return bool(_EMAIL.search(text)) or any(len(one) >= _FEWEST_PHONE_DIGITS for one in phones)


def same_question(text: str) -> str:
    """Hex of 256 bits that two texts share when they have the same words but for function words,
    order, case and punctuation; '' where no other word is left.

    Likeness of letters would not do: "What are the symptoms of X?" and "of Y?" differ in one word,
    and that is the one that is asked about.
    """
    words = set(words_of(html.unescape(text)))
    content = {word for word in words if word not in _LITTLE_WORDS}
    joined = " ".join(sorted(content))
    return hashlib.sha256(joined.encode()).hexdigest() if content else ""


def _refuse_language(text: str, language: str) -> None:
    found = language_of(text)
    if language and found and found != language:
        raise RejectedError("other_language", f"it reads as {found}, expected {language}")


def stored(text: str, store: Path) -> Path:
    """The file that holds this text in a store; written where it is not there yet."""
    data = text.encode("utf-8", "replace")
    name = hashlib.sha256(data).hexdigest()
    path = store / name[:2] / f"{name}.txt"
    if not path.is_file():
        atomic_write(path, lambda temporary: temporary.write_bytes(data))
    return path
