"""The rows of `regraft bench speech-to-sign`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from regraft.bench.cell import chosen
from regraft.bench.inputs import pack_folder
from regraft.bench.rows import markdown
from regraft.bench.speech.recordings import listed
from regraft.bench.speech.signs import read_signs, sign_cells, sign_rows, sources_of_words
from regraft.bench.speech.words import Words, word_cells, word_rows
from regraft.data.files import atomic_write, claimed_folder


def measure_speech(
    *,
    data: str | None,
    weights: str | None,
    encoder: str,
    out: Path,
    patterns: Sequence[str],
    seeds: int,
) -> list[dict[str, Any]]:
    """The rows whose names fit one of `patterns`; also written to `out/table.md`.

    `data` is the folder of the pack speech_sign, `weights` the file of the encoder; both default to
    the real data packs. Features are kept in `out`.

    Raises UserError when data or weights are missing, or a pattern fits no cell.
    """
    from regraft.backbones.audio_encoder import load_audio_encoder

    folder = pack_folder("speech_sign", data, "--data")
    recordings, signs = listed(folder / "speech"), read_signs(folder / "sign")
    cells = chosen([*word_cells(), *sign_cells(sources_of_words(signs))], patterns)
    file = Path(weights) if weights else None
    if file is None and encoder == "speech_embedding":
        file = pack_folder("weights", None, "--weights") / encoder / "model.safetensors"
    model = load_audio_encoder(encoder, weights=str(file or ""))
    with claimed_folder(out, "bench", lambda: None):
        words = Words(recordings, model, out)
        rows = word_rows([cell for cell in cells if "shots" in cell.options], words, seeds)
        signing = [cell for cell in cells if "pairs" in cell.options]
        if signing:
            rows += sign_rows(signing, words, signs, seeds)
        text = f"{markdown(rows)}\n\n{signs_markdown(rows)}\n"
        atomic_write(out / "table.md", lambda path: path.write_text(text))
    return rows


def signs_markdown(rows: Sequence[dict[str, Any]]) -> str:
    """A table of what the rows of signs say beside back-recognition; '' without such rows.

    >>> figures = {"share_of_ceiling": 0.9, "ceiling": 1.0, "still_back_recognition": 0.1,
    ...            "dtw_mje": 0.15, "dtw_mje_still": 0.3, "dtw_mje_another": 0.18, "pck": 0.8}
    >>> print(signs_markdown([{"cell": "a", "figures": figures}, {"cell": "words"}]))
    | cell | of the ceiling | ceiling | floor | DTW-MJE | in the mean pose's | a real one's | PCK |
    |---|---|---|---|---|---|---|---|
    | a | 90.0 % | 100.0 % | 10.0 % | 0.150 | 0.500 | 0.600 | 80.0 % |
    """
    signs = [row for row in rows if "figures" in row]
    if not signs:
        return ""
    heads = [
        "cell",
        "of the ceiling",
        "ceiling",
        "floor",
        "DTW-MJE",
        "in the mean pose's",
        "a real one's",
        "PCK",
    ]
    lines = [f"| {' | '.join(heads)} |", "|" + "---|" * len(heads)]
    for row in signs:
        found = row["figures"]
        shares = ("share_of_ceiling", "ceiling", "still_back_recognition")
        parts = [f"{100 * found[name]:.1f} %" for name in shares]
        errors = [found[name] for name in ("dtw_mje", "dtw_mje_another")]
        parts += [f"{x:.3f}" for x in (errors[0], *(e / found["dtw_mje_still"] for e in errors))]
        parts.append(f"{100 * found['pck']:.1f} %")
        lines.append(f"| {row['cell']} | {' | '.join(parts)} |")
    return "\n".join(lines)
