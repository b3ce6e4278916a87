"""What a recogniser of words signs with: a bridge to the motion decoder, in the model's folder."""

from __future__ import annotations

import base64
import io
import json
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file

from regraft.backbones.motion_autoencoder import MotionAutoencoder
from regraft.tasks.sign_bridge import SignBridge
from regraft.tasks.sign_sentence import as_motion

_WEIGHTS, _CARD = "signer.safetensors", "signer.json"


@dataclass(frozen=True)
class Signer:
    """A bridge, and the words of its scores. `unsigned` words have no sign: the others' scores
    decide what is shown for them, so nothing is. `pretraining_motions` says on how many motions the
    decoder was pre-trained: "own" ones of the words' source, and "of_other_sources"; a signer of an
    earlier version does not know."""

    bridge: SignBridge
    words: list[str]
    unsigned: frozenset[str] = frozenset()
    pretraining_motions: dict[str, int] = field(default_factory=dict)

    def signs(self, scores: np.ndarray) -> list[np.ndarray | None]:
        """The sign (frames, SIGN_DIM) of each row of scores (n, words); None where the
        best word has no sign."""
        made = self.bridge.signs(np.asarray(scores))
        best = [self.words[int(number)] for number in np.argmax(scores, 1)]
        return [
            None if word in self.unsigned else sign for word, sign in zip(best, made, strict=True)
        ]

    @property
    def labels(self) -> list[str]:
        """The words that it can sign."""
        return [word for word in self.words if word not in self.unsigned]

    def knows(self, label: str) -> bool:
        """Whether it can sign this word; case does not matter."""
        return label.casefold() in map(str.casefold, self.labels)

    def sign(self, label: str) -> np.ndarray:
        """The sign (frames, SIGN_DIM) of a word that it knows, as if heard without doubt."""
        heard = [[float(word.casefold() == label.casefold()) for word in self.words]]
        return self.bridge.signs(np.array(heard))[0]

    def files(self, scores: np.ndarray) -> list[str | None]:
        """The same as .npz files (joints (frames, 75, 3), NaN where there are none, and fps), as
        base64 text."""
        return [None if sign is None else _file(sign) for sign in self.signs(scores)]

    def save(self, folder: Path) -> None:
        """Write into a model folder."""
        state = {name: value.contiguous() for name, value in self.bridge.state_dict().items()}
        save_file(state, folder / _WEIGHTS)
        card = {
            "words": self.words,
            "unsigned": sorted(self.unsigned),
            "pretraining_motions": self.pretraining_motions,
        }
        (folder / _CARD).write_text(json.dumps(card, indent=2), encoding="utf-8")

    @staticmethod
    def load(folder: Path) -> Signer | None:
        """The signer of a model folder; None where it has none."""
        if not (folder / _CARD).is_file():
            return None
        card = json.loads((folder / _CARD).read_text(encoding="utf-8"))
        state = load_file(folder / _WEIGHTS)
        bridge = SignBridge(MotionAutoencoder(), torch.zeros_like(state["values"]))
        bridge.load_state_dict(state)
        motions = card.get("pretraining_motions", {})
        return Signer(bridge.eval(), card["words"], frozenset(card["unsigned"]), motions)


def _file(sign: np.ndarray) -> str:
    motion = as_motion(sign)
    buffer = io.BytesIO()
    np.savez_compressed(buffer, joints=motion.joints.astype(np.float32), fps=np.float32(motion.fps))
    return base64.b64encode(buffer.getvalue()).decode()
