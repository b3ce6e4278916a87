"""How one example is shown in a report: as a thumbnail, as text, or as a task's own markup.

The report never asks what kind of task it documents. A task hands over a function `show(id)` that
returns {"thumbnail": data URI}, {"text": str}, both, or {"html": str}; what is in "html" goes into
the page as it is, so a task must escape what it did not write itself.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

if TYPE_CHECKING:
    import pandas as pd
    from PIL import Image

Show = Callable[[str], dict[str, str]]

_PIXELS = 160
_CHARACTERS = 600
_LARGEST_THUMBNAIL = 14_000


def show_examples(open_example: Callable[[str], Any]) -> Show:
    """Make a `show` function of one that opens the image, the text, or (image, text), with an id;
    what is gone since the evaluation is described in words instead of failing the report.
    """

    def show(example_id: str) -> dict[str, str]:
        try:
            found = open_example(example_id)
            if isinstance(found, str):
                return {"text": found}
            picture, *words = found if isinstance(found, tuple) else (found,)
            with picture as image:
                return {"thumbnail": thumbnail(image)} | ({"text": words[0]} if words else {})
        except OSError as error:
            return {"text": f"the example cannot be opened any more: {error}"}

    return show


def open_file(path: str) -> Image.Image | str:
    """The image or text in a file whose kind nothing says. Raises OSError: it is neither."""
    from pathlib import Path

    from PIL import Image, UnidentifiedImageError

    try:
        return Image.open(path)
    except UnidentifiedImageError:
        try:
            return Path(path).read_text(encoding="utf-8")[:_CHARACTERS]
        except UnicodeDecodeError as error:
            raise OSError("neither an image nor a text") from error


def thumbnail(image: Image.Image, pixels: int = _PIXELS) -> str:
    """Return a JPEG data URI of at most about 14 kB whose longer side is at most `pixels`."""
    from PIL import ImageOps

    image.draft("RGB", (2 * pixels, 2 * pixels))
    small = ImageOps.exif_transpose(image).convert("RGB")
    small.thumbnail((pixels, pixels))
    data = b""
    for quality in (78, 60, 40):
        buffer = io.BytesIO()
        small.save(buffer, format="JPEG", quality=quality, optimize=True)
        data = buffer.getvalue()
        if len(data) <= _LARGEST_THUMBNAIL:
            break
    return "data:image/jpeg;base64," + base64.b64encode(data).decode("ascii")


def worst_mistakes(
    predictions: pd.DataFrame,
    probabilities: ArrayLike,
    classes: Sequence[str],
    show: Show,
    limit: int = 24,
) -> list[dict[str, Any]]:
    """The most confident wrong answers first: {id, true, predicted, confidence, true_probability}
    and what `show` returns. Row i of `probabilities` (n, classes) belongs to row i of the frame.
    """
    scores = np.asarray(probabilities, dtype=np.float64)
    column = {name: number for number, name in enumerate(classes)}
    wrong = np.flatnonzero((predictions["label"] != predictions["predicted"]).to_numpy())
    confidence = predictions["confidence"].to_numpy(dtype=np.float64)
    worst = wrong[np.argsort(-confidence[wrong], kind="stable")][:limit]
    rows = predictions.iloc[worst].to_dict("records")
    return [
        {
            "id": str(row["id"]),
            "true": str(row["label"]),
            "predicted": str(row["predicted"]),
            "confidence": float(row["confidence"]),
            "true_probability": float(scores[number, column[row["label"]]]),
            **show(str(row["id"])),
        }
        for number, row in zip(worst.tolist(), rows, strict=True)
    ]
