"""The page and the GIF hold the whole motion, and need nothing else."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from regraft.data.skeleton import SIGN_DIM
from regraft.evaluation.sign_player import PLACE, SHOULDER, elbow, figure, write_gif, write_player


def waving(frames: int = 6) -> np.ndarray:
    return np.random.default_rng(0).normal(0, 0.5, (frames, SIGN_DIM)).cumsum(0)


def data_of(page: str) -> Any:
    found = re.search(r"const data = (\{.*\});", page)
    assert found
    return json.loads(found[1])


def test_the_page_holds_every_frame_and_asks_nobody_else(tmp_path: Path) -> None:
    part = {"text": "</script><b>1", "how": "sign", "start": 0, "end": 6}
    write_player(tmp_path / "a.html", waving(), fps=25, parts=[part])
    page = (tmp_path / "a.html").read_text()
    np.testing.assert_allclose(data_of(page)["frames"], figure(waving()), atol=1e-3)
    assert data_of(page)["parts"][0]["text"] == "</script><b>1"
    assert page.count("</script>") == 1  # what people typed cannot end it
    assert not re.search(r"https?://|src=|@import|fetch\(", page)
    for control in ("Pause", "Speed", 'type="range"'):
        assert control in page


@pytest.mark.parametrize("bad", [waving(0), np.full((3, SIGN_DIM), np.nan)])
def test_nothing_is_not_played(tmp_path: Path, bad: np.ndarray) -> None:
    with pytest.raises(ValueError, match="nothing to play"):
        write_player(tmp_path / "a.html", bad, fps=25, parts=[])


def test_the_elbow_hangs_below_the_shoulder_and_follows_the_hand() -> None:
    assert elbow(PLACE)[1] > SHOULDER[1] + 2
    raised = elbow(PLACE - np.array([0, 2]))
    assert 0 < elbow(PLACE)[1] - raised[1] < 2


def test_the_gif_moves(tmp_path: Path) -> None:
    write_gif(tmp_path / "a.gif", waving(), fps=25)
    with Image.open(tmp_path / "a.gif") as gif:
        assert gif.n_frames == 6
        assert gif.info["duration"] == 40
