"""Recorded signs by their word: what a figure can sign."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from regraft.data.motion import open_motion
from regraft.data.skeleton import normalised_hand, resampled
from regraft.errors import UserError

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
        motion = open_motion(self.files[label.casefold()])
        hand = normalised_hand(motion.joints)
        return resampled(hand, max(round(len(hand) * FPS / motion.fps), 2))


def read_lexicon(folder: Path, sources: list[str]) -> SignLexicon:
    """The signs that `folder/index.jsonl` lists (file, label, source, hand_frames), of these
    sources or of all; of several recordings of a label the one in which a hand is tracked most.

    Raises UserError where there is no list, or no recording of a source.
    """
    index = folder / "index.jsonl"
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
    chosen = [row for row in rows if not sources or row["source"] in sources]
    chosen.sort(key=lambda row: row.get("hand_frames", 1.0))  # the best one stays
    root = folder if (folder / rows[0]["file"]).is_file() else folder.parent
    return SignLexicon({str(row["label"]).casefold(): root / row["file"] for row in chosen})
