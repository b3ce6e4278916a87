from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from regraft.data.versions import content_version, dvc_version
from regraft.errors import UserError


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name in ("a/1.jpg", "a/ü 2.jpg", "b/3.jpg"):
        path = tmp_path / "data" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    return tmp_path / "data"


def test_shape_and_repeatability(root: Path) -> None:
    version = content_version(root)
    assert version.startswith("sha256:")
    assert len(version) == len("sha256:") + 16
    assert version == content_version(root)


def test_content_and_names_count_and_hidden_files_do_not(root: Path) -> None:
    versions = [content_version(root)]
    (root / ".DS_Store").write_text("x")
    assert content_version(root) == versions[0]
    (root / "a/1.jpg").write_text("other")
    versions.append(content_version(root))
    (root / "a/1.jpg").rename(root / "b/1.jpg")
    versions.append(content_version(root))
    (root / "b/1.jpg").unlink()
    versions.append(content_version(root))
    assert len(set(versions)) == 4


def test_a_copy_elsewhere_has_the_same_version(root: Path, tmp_path: Path) -> None:
    import shutil

    shutil.copytree(root, tmp_path / "copy")
    assert content_version(root) == content_version(tmp_path / "copy")


def test_links_that_leave_the_root_are_not_read(root: Path, tmp_path: Path) -> None:
    (tmp_path / "outside").write_text("1")
    (root / "a/link").symlink_to(tmp_path / "outside")
    version = content_version(root)
    (tmp_path / "outside").write_text("2")
    assert content_version(root) == version


def test_a_table_stands_for_itself_and_its_files(root: Path) -> None:
    table = root / "t.csv"
    table.write_text("path,label\na/1.jpg,a\nnone.jpg,b\n")
    version = content_version(table)
    (root / "b/3.jpg").write_text("not named by the table")
    assert content_version(table) == version
    (root / "a/1.jpg").write_text("changed")
    assert content_version(table) != version


def test_missing_root(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="does not exist"):
        content_version(tmp_path / "none")


def test_dvc_version_is_dvcs_and_only_while_unchanged(root: Path, tmp_path: Path) -> None:
    pytest.importorskip("dvc", reason="DVC is an extra")
    assert dvc_version(tmp_path) is None
    environment = os.environ | {"DVC_NO_ANALYTICS": "1", "DVC_SITE_CACHE_DIR": str(tmp_path / "s")}
    for arguments in (["init", "--no-scm", "-q"], ["add", "-q", "data"]):
        subprocess.run(
            [sys.executable, "-m", "dvc", *arguments], cwd=tmp_path, check=True, env=environment
        )
    version = dvc_version(tmp_path)
    assert version is not None
    assert version in (tmp_path / "data.dvc").read_text()
    (root / "a/1.jpg").write_text("changed")
    assert dvc_version(tmp_path) is None
