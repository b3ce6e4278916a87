"""Embeddings of the texts of a bench, each text once; what they cost is kept with them."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from regraft.bench.prepared import cpu_seconds
from regraft.data.files import write_arrays

_PIECE = 256
"""Texts between two writes: what a killed bench loses."""


class TextEmbeddings:
    """A file of embeddings that all seeds read. It belongs to one encoder."""

    def __init__(self, file: Path, encoder: Any) -> None:
        self._file, self._encoder = file, encoder
        self._known: dict[str, tuple[np.ndarray, float]] = {}
        if file.is_file():
            with np.load(file) as found:
                rows = zip(found["keys"], found["vectors"], found["seconds"], strict=True)
                self._known = {str(key): (vector, float(cost)) for key, vector, cost in rows}

    def of(self, texts: Sequence[str]) -> tuple[np.ndarray, float]:
        """Embeddings (n, dim), and the CPU seconds that they cost when they were made."""
        keys = [hashlib.sha256(text.encode()).hexdigest()[:24] for text in texts]
        missing = {
            key: text for key, text in zip(keys, texts, strict=True) if key not in self._known
        }
        order = sorted(missing, key=lambda key: len(missing[key]))
        for start in range(0, len(order), _PIECE):
            self._embed([(key, missing[key]) for key in order[start : start + _PIECE]])
        vectors = np.stack([self._known[key][0] for key in keys])
        return vectors, sum(self._known[key][1] for key in set(keys))

    def _embed(self, piece: list[tuple[str, str]]) -> None:
        from regraft.backbones.transformer import embed_texts

        started = cpu_seconds()
        vectors = embed_texts(self._encoder, [text for _, text in piece])
        each = (cpu_seconds() - started) / len(piece)
        self._known |= {
            key: (vector, each) for (key, _), vector in zip(piece, vectors, strict=True)
        }
        write_arrays(
            self._file,
            keys=np.array(list(self._known)),
            vectors=np.stack([vector for vector, _ in self._known.values()]),
            seconds=np.array([cost for _, cost in self._known.values()]),
        )
