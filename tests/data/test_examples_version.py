"""Regenerated example data is the version that the committed data.dvc records."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from regraft.data.examples import generate_all, keep_version
from regraft.data.versions import dvc_version

PROJECT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The versioned files of a fresh clone, with the example data drawn."""
    root = tmp_path_factory.mktemp("checkout")
    (root / ".dvc").mkdir()
    for name in ("data.dvc", ".dvcignore", ".dvc/config", ".dvc/.gitignore"):
        shutil.copy(PROJECT / name, root / name)
    generate_all(root / "data")
    return root


def _status(root: Path) -> tuple[int, str]:
    """Exit code and output of `dvc status`; with --quiet the code is 1 if anything changed."""
    command = [sys.executable, "-m", "dvc", "--cd", str(root)]
    done = subprocess.run(
        [*command, "status", "--quiet"], capture_output=True, text=True, check=False
    )
    return done.returncode, done.stderr


@pytest.mark.e2e
def test_the_drawn_data_are_the_recorded_version(checkout: Path) -> None:
    assert dvc_version(checkout) is not None


@pytest.mark.e2e
def test_dvc_status_is_clean_after_regeneration_and_dirty_after_a_change(checkout: Path) -> None:
    (checkout / ".dvc" / "config.local").write_text("[core]\n    no_scm = true\n")
    assert "clean" in keep_version(checkout / "data")
    assert _status(checkout) == (0, "")
    stranger = checkout / "data" / "leaves" / "lab" / "rust" / "new.jpg"
    stranger.write_bytes(b"not recorded")
    assert _status(checkout)[0] == 1
    assert "is not the version" in keep_version(checkout / "data")
    stranger.unlink()


def test_a_folder_without_pointer_is_left_alone(tmp_path: Path) -> None:
    assert "not under version control" in keep_version(tmp_path / "data")


def test_no_remote_and_no_analytics_are_committed() -> None:
    config = (PROJECT / ".dvc" / "config").read_text(encoding="utf-8")
    settings = [line.strip() for line in config.splitlines() if not line.startswith("#")]
    assert "analytics = false" in settings
    assert not any("remote" in line or "url" in line for line in settings)
