"""The house stays livable: imports point down, the command line starts fast."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ROOMS = """cli bench steps monitoring serving registry evaluation training transfer tasks backbones
shift data recipe progress errors""".split()
SAME_FLOOR = {"monitoring": "serving", "serving": "monitoring"}
HEAVY = set(
    """torch torchvision timm mlflow great_expectations evidently transformers sklearn matplotlib
    kfp accelerate pandas scipy""".split()
)


def _imports(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return found


def _room(module: str) -> str | None:
    parts = module.split(".")
    return parts[1] if parts[0] == "regraft" and len(parts) > 1 else None


SOURCES = sorted((ROOT / "regraft").rglob("*.py"))


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_point_down(path: Path) -> None:
    room = path.relative_to(ROOT / "regraft").parts[0].removesuffix(".py")
    if room in ("__init__", "__main__"):
        return
    for module in _imports(path):
        other = _room(module)
        if other in ROOMS and other != room and SAME_FLOOR.get(room) != other:
            assert ROOMS.index(other) > ROOMS.index(room), f"{room} imports {module}"
        assert not module.startswith(("kfp", "components")), "the library knows no Kubeflow"
        assert not module.startswith("pipelines") or room == "cli"


def test_the_command_line_imports_nothing_heavy() -> None:
    code = (
        "import sys, regraft.cli.main, regraft.recipe;"
        f"print(sorted({HEAVY!r} & {{m.split('.')[0] for m in sys.modules}}))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


def test_no_component_imports_heavy_libraries_at_module_level() -> None:
    for path in (ROOT / "components").rglob("*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        top = [node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
        names = {
            (node.module or "") if isinstance(node, ast.ImportFrom) else node.names[0].name
            for node in top
        }
        assert not {name.split(".")[0] for name in names} & (HEAVY - {"kfp"}), path
