"""The page on which people try the model that is served, and the figure that signs a word."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from regraft.serving.loaded import LoadedModel
from regraft.serving.problems import Refused

POLICY = (
    "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; "
    "connect-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
)
"""Content-Security-Policy: the page carries its own script and style and talks to this server."""


@cache
def try_page() -> str:
    """HTML that asks /predict with a photo, a text, or a word that is recorded on the spot."""
    return (Path(__file__).parent / "pages" / "try.html").read_text(encoding="utf-8")


def sign_page(model: LoadedModel, word: str) -> str:
    """The player of a word's sign.

    Raises `Refused` (404) for a model that does not sign, or not this word.
    """
    from regraft.data.sign_lexicon import FPS
    from regraft.evaluation.sign_player import player

    signer = getattr(model.predictor, "signer", None)
    if signer is None or not signer.knows(word):
        words = (
            "none: this model does not sign" if signer is None else ", ".join(signer.labels[:40])
        )
        raise Refused(
            404, "no_sign", "there is no sign for this word", got=word[:80], expected=words
        )
    sign = signer.sign(word)
    parts = [{"text": word, "how": "sign", "start": 0, "end": len(sign)}]
    return player(sign, fps=FPS, parts=parts)
