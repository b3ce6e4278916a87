"""The bill of materials names what is installed."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

SCRIPT = Path(__file__).parents[2] / "docker" / "sbom.py"


def output(*arguments: str) -> str:
    """It runs alone, as in an image."""
    command = [sys.executable, "-I", str(SCRIPT), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def test_the_bill_names_every_package_once_with_a_licence() -> None:
    bill = json.loads(output())
    components = {component["name"]: component for component in bill["components"]}
    assert len(components) == len(bill["components"]) > 100
    assert components["numpy"]["purl"] == f"pkg:pypi/numpy@{version('numpy')}"
    assert all(component["licenses"] for component in components.values())
    references = {component["bom-ref"] for component in components.values()}
    needs = {entry["ref"]: set(entry["dependsOn"]) for entry in bill["dependencies"]}
    assert set(needs) == references
    assert set().union(*needs.values()) <= references
    assert components["numpy"]["purl"] in needs[components["pandas"]["purl"]]


def test_it_is_equal_for_an_equal_environment() -> None:
    assert output() == output()


def test_the_table_has_licences() -> None:
    lines = output("--licences").splitlines()
    click = next(line for line in lines if line.startswith("click "))
    assert "BSD" in click
    unknown = [line for line in lines if line.endswith("unknown")]
    assert lines[len(lines) - len(unknown) :] == unknown, "what needs a look is at the end"
