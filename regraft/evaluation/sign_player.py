"""Signs as something to look at: a player in one HTML file, and a GIF.

The figure has the proportions of a grown person in palm lengths (one is about 9 cm): the recorded
hand, an arm that follows it, and a torso and head that only say where one is.
"""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from regraft.data.files import atomic_write
from regraft.data.skeleton import HAND_BONES, positions
from regraft.evaluation.report import template

SHOULDER = np.array([-2.0, 0.0])
PLACE = np.array([-3.3, 0.8])
"""Where the wrist is on average: beside the shoulder, a little below it (y points down)."""

_HANGS = np.array([-0.6, 3.1])
_FOLLOWS = 0.25
_BODY = [((-2.0, 0.0), (2.0, 0.0)), ((-2.0, 0.0), (-1.4, 5.0)), ((2.0, 0.0), (1.4, 5.0))]
_REST_ARM = [((2.0, 0.0), (2.5, 3.1)), ((2.5, 3.1), (1.6, 5.4))]
_HEAD = ((0.0, -2.0), 1.25)
_VIEW = (-7.0, -4.0, 12.0)  # left, top, side
_HAND_VIEW = 3.2  # palm lengths on a side
_INK, _HAND = "#33415c", "#b23a48"


def player(sign: np.ndarray, *, fps: float, parts: Sequence[Mapping[str, Any]]) -> str:
    """The figure that signs `sign` (frames, SIGN_DIM) as an HTML page that needs no network.

    It plays, pauses, steps and changes speed. `parts` (text, how, start, end in frames) are written
    below the figure while they are signed.

    Raises ValueError for a sign without frames, or with NaN.
    """
    if not len(sign) or not np.isfinite(sign).all():
        raise ValueError("there is nothing to play")
    data = {
        "fps": fps,
        "view": _VIEW,
        "bones": HAND_BONES,
        "body": _BODY + _REST_ARM,
        "head": _HEAD,
        "shoulder": SHOULDER.tolist(),
        "frames": np.round(figure(sign), 3).tolist(),
        "parts": [dict(part) for part in parts],
    }
    # "<" could end the script that the data are in
    text = json.dumps(data, separators=(",", ":")).replace("<", "\\u003c")
    page: str = template("sign_player.html.j2").render(data=text, ink=_INK, hand=_HAND)
    return page


def write_player(
    path: Path, sign: np.ndarray, *, fps: float, parts: Sequence[Mapping[str, Any]]
) -> None:
    """Write `player` to a file."""
    page = player(sign, fps=fps, parts=parts)
    atomic_write(path, lambda temporary: temporary.write_text(page, encoding="utf-8"))


def write_gif(path: Path, sign: np.ndarray, *, fps: float, side: int = 240) -> None:
    """The same figure as an animated GIF of `side` pixels."""
    images = [_drawn(frame, side) for frame in figure(sign)]
    first, rest = images[0], images[1:]
    atomic_write(
        path,
        lambda temporary: first.save(
            temporary,
            format="GIF",
            save_all=True,
            append_images=rest,
            duration=round(1000 / fps),
            loop=0,
        ),
    )


def strip(sign: np.ndarray, *, moments: int = 5, side: int = 120) -> str:
    """The hand of a sign (frames, SIGN_DIM) at so many moments, as a PNG in a data: address."""
    from PIL import Image

    hands = positions(sign)[..., :2]
    hands = hands - hands[:, :1]  # the wrist stays in place: what counts is the hand's shape
    chosen = np.linspace(0, len(hands) - 1, moments + 2).round().astype(int)[1:-1]
    picture = Image.new("RGB", (moments * side, side), "white")
    for place, hand in enumerate(hands[chosen]):
        picture.paste(_drawn_hand(hand, side), (place * side, 0))
    buffer = io.BytesIO()
    picture.save(buffer, format="PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()


def _drawn_hand(hand: np.ndarray, side: int) -> Any:
    from PIL import Image, ImageDraw

    image = Image.new("RGB", (side, side), "white")
    pen = ImageDraw.Draw(image)
    at = hand * side / _HAND_VIEW + [side / 2, side * 0.8]
    for first, last in HAND_BONES:
        pen.line([*at[first], *at[last]], fill=_HAND, width=2)
    return image


def figure(sign: np.ndarray) -> np.ndarray:
    """Elbow, then the 21 joints of the hand, (frames, 22, 2), of a sign (frames, SIGN_DIM)."""
    hand = positions(sign)[..., :2] + PLACE
    return np.concatenate([elbow(hand[:, :1]), hand], 1)


def elbow(wrist: np.ndarray) -> np.ndarray:
    """Where the elbows (..., 2) are for these wrists (..., 2): beside the ribs, following a little.
    The forearm points at the viewer, so how long it looks says nothing of its length."""
    return np.asarray(SHOULDER + _HANGS + _FOLLOWS * (wrist - PLACE))


def _drawn(frame: np.ndarray, side: int) -> Any:
    from PIL import Image, ImageDraw

    left, top, width = _VIEW
    scale = side / width

    def at(point: Any) -> tuple[float, float]:
        return (point[0] - left) * scale, (point[1] - top) * scale

    image = Image.new("RGB", (side, side), "white")
    pen = ImageDraw.Draw(image)
    arm = [(SHOULDER, frame[0]), (frame[0], frame[1])]
    for first, last in [*_BODY, *_REST_ARM, *arm]:
        pen.line([at(first), at(last)], fill=_INK, width=max(side // 80, 1))
    (x, y), radius = at(_HEAD[0]), _HEAD[1] * scale
    pen.ellipse([x - radius, y - radius, x + radius, y + radius], outline=_INK, width=2)
    for first, last in HAND_BONES:
        pen.line([at(frame[1 + first]), at(frame[1 + last])], fill=_HAND, width=2)
    return image
