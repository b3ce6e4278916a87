"""Recorded signs by their word: what a figure can sign."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from regraft.data.motion import open_motion
from regraft.data.skeleton import normalised_hand, resampled
from regraft.errors import UserError

INDEX = "index.jsonl"
FPS = 25
"""Frames per second of every sign that a lexicon gives out."""


@dataclass(frozen=True)
class SignLexicon:
    """Motion files by label; labels are compared without regard to case."""

    files: dict[str, Path]

    def knows(self, label: str) -> bool:
        """Whether there is a sign of this label."""
        return label.casefold() in self.files

    def sign(self, label: str) -> np.ndarray:
        """The sign (frames, SIGN_DIM) at `FPS`.

        Raises UserError where its file is no usable motion.
        """
        return read_sign(self.files[label.casefold()])

    @property
    def labels(self) -> list[str]:
        """Of all signs."""
        return sorted(self.files)


def read_sign(path: Path) -> np.ndarray:
    """The sign (frames, SIGN_DIM) at `FPS` of a motion file. Raises UserError where it is no usable
    motion."""
    motion = open_motion(path)
    hand = normalised_hand(motion.joints)
    return resampled(hand, max(round(len(hand) * FPS / motion.fps), 2))


@dataclass(frozen=True)
class ListedSign:
    """A motion file, the word it signs, where it comes from and who signs ('' where not said)."""

    path: Path
    label: str
    source: str
    signer: str
    hand_share: float


def listed_signs(folder: Path, sources: Sequence[str]) -> list[ListedSign]:
    """The signs that `folder/index.jsonl` lists (file, label, source, signer, hand_frames), of
    these sources or of all. Files count from the folder or the one above.

    Raises UserError where there is no list, or no recording of a source.
    """
    index = folder / INDEX
    if not index.is_file():
        raise UserError(
            "the folder holds no signs",
            where=str(folder),
            expected="index.jsonl with file, label and source per line",
        )
    rows = [json.loads(line) for line in index.read_text(encoding="utf-8").splitlines()]
    known = {row["source"] for row in rows}
    unknown = [source for source in sources if source not in known]
    if unknown:
        raise UserError(
            "no sign comes from this source",
            where=str(index),
            got=", ".join(unknown),
            expected=", ".join(sorted(known)),
        )
    root = folder if (folder / rows[0]["file"]).is_file() else folder.parent
    return [
        ListedSign(
            root / row["file"],
            str(row["label"]),
            row["source"],
            str(row.get("signer", row["source"])),
            float(row.get("hand_frames", 1.0)),
        )
        for row in rows
        if not sources or row["source"] in sources
    ]


def read_lexicon(folder: Path, sources: list[str]) -> SignLexicon:
    """The signs that `listed_signs` lists; of several recordings of a label the one in which a hand
    is tracked most. Raises UserError as that does.
    """
    chosen = sorted(listed_signs(folder, sources), key=lambda sign: sign.hand_share)
    return SignLexicon({sign.label.casefold(): sign.path for sign in chosen})  # the best one stays
