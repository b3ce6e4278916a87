"""The bearer token: where it comes from, and whether a request has it."""

from __future__ import annotations

import hmac
import os
from pathlib import Path

from regraft.errors import UserError

_SHORTEST = 16


def load_tokens(*, variable: str = "", file: str | Path = "") -> tuple[bytes, ...]:
    """The accepted tokens: an environment variable, or a file with one per line (two while one is
    being replaced). Empty when neither is named.

    Raises `UserError` when the named place holds none, or one that is easily guessed.
    """
    if variable:
        where, text = f"environment variable {variable}", os.environ.get(variable, "")
    elif file:
        where, text = str(file), _read(file)
    else:
        return ()
    tokens = tuple(line.strip().encode() for line in text.splitlines() if line.strip())
    if not tokens or min(map(len, tokens)) < _SHORTEST:
        raise UserError(
            "there is no usable bearer token",
            where=where,
            got="nothing" if not tokens else f"{min(map(len, tokens))} characters",
            expected=f"at least {_SHORTEST} characters",
            fix="python -c 'import secrets; print(secrets.token_urlsafe())'",
        )
    return tokens


def accepted(header: str | None, tokens: tuple[bytes, ...]) -> bool:
    """Does the Authorization header carry one of `tokens`? Takes equally long for any wrong one."""
    scheme, _, given = (header or "").partition(" ")
    if scheme.lower() != "bearer":
        return False
    sent = given.strip().encode("utf-8", "surrogateescape")
    return sum(hmac.compare_digest(sent, token) for token in tokens) > 0  # all are looked at


def _read(file: str | Path) -> str:
    try:
        return Path(file).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(
            "the token file cannot be read", where=str(file), got=str(error).splitlines()[0]
        ) from error
