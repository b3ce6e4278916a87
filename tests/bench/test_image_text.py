"""The bench of image and text on drawn leaves with field notes, through the command line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from regraft.bench.image_text import CHOSEN
from regraft.bench.inputs import pairs_table
from regraft.cli.main import cli
from regraft.data.examples.field_notes import FILE, HELD_BACK_BY, field_notes
from regraft.data.examples.leaves import draw_leaf
from regraft.errors import UserError

_PER_CLASS = 60


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from PIL import Image

    root = tmp_path_factory.mktemp("notes")
    for disease in ("healthy", *HELD_BACK_BY):
        folder = root / "leaves" / "lab" / disease
        folder.mkdir(parents=True)
        for index in range(_PER_CLASS):
            Image.fromarray(draw_leaf("lab", disease, index)).save(folder / f"{index:03d}.jpg")
    lines = [json.dumps(row) + "\n" for row in field_notes(per_class=_PER_CLASS)]
    (root / FILE).write_text("".join(lines), encoding="utf-8")
    return root / FILE


def _rows(table: Path, out: Path) -> dict[str, dict[str, Any]]:
    arguments = ["bench", "image-text", "--data", str(table), "--weights", "starter"]
    done = CliRunner().invoke(cli, [*arguments, "--out", str(out), "--seeds", "1", "--json"])
    assert done.exit_code == 0, done.output
    return {row["cell"]: row for row in json.loads(done.stdout)}


@pytest.mark.e2e
def test_fusion_beats_both_modalities_where_only_both_know(table: Path, tmp_path: Path) -> None:
    rows = _rows(table, tmp_path)
    part = f"all ({2 * _PER_CLASS})"
    fused = rows[f"{part}: {CHOSEN}"]["mean"]
    bridge, late = (
        rows[f"{part}: fusion {kind}"]["mean"] for kind in ("cross_attention", "weighted")
    )
    assert bridge > late
    for single in ("image", "text"):
        alone = rows[f"{part}: {single} alone"]["mean"]
        other = {"image": "text", "text": "image"}[single]
        assert fused > alone + 0.1
        assert rows[f"{part}: {CHOSEN}, {other} missing"]["mean"] == alone
        assert rows[f"{part}: {CHOSEN} - {single} alone"]["low"] > 0
    assert all(row["low"] <= row["mean"] <= row["high"] for row in rows.values())
    assert (tmp_path / "data_docs" / "index.html").is_file()


def test_a_missing_table_is_a_clear_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    arguments = ["bench", "image-text", "--data", str(tmp_path), "--weights", "starter"]
    done = CliRunner().invoke(cli, arguments)
    assert done.exit_code != 0
    monkeypatch.delenv("REGRAFT_DATA", raising=False)
    with pytest.raises(UserError, match="data packs are not named"):
        pairs_table(None)
