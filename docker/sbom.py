"""What is installed here, and under which licences.

`python sbom.py` prints a software bill of materials in CycloneDX 1.6 JSON (components with version,
package URL and licence, and who depends on whom); `python sbom.py --licences` prints a table. It
describes the Python packages of the interpreter that runs it, as their own metadata say it: not the
operating system's packages, and it does not judge whether a licence is right. Of an image:
`docker run --rm -i IMAGE python - < docker/sbom.py`. Needs nothing but the standard library.
"""

from __future__ import annotations

import json
import re
import sys
from importlib.metadata import Distribution, distributions
from typing import Any

_UNKNOWN = "unknown"
_LONGEST_NAME = 80  # some packages put the whole text there


def installed() -> dict[str, Distribution]:
    """Every distribution by its normalised name, sorted."""
    found: dict[str, Distribution] = {}
    for distribution in distributions():
        name = distribution.metadata["Name"]
        if name:
            found.setdefault(normalised(name), distribution)
    return dict(sorted(found.items()))


def normalised(name: str) -> str:
    """The name as package indexes compare it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def licence(distribution: Distribution) -> str:
    """SPDX expression where there is one, else the classifiers' or the free text's name."""
    metadata = distribution.metadata
    if expression := metadata.get("License-Expression"):
        return str(expression)
    classifiers = [
        line.rsplit(" :: ", 1)[-1]
        for line in metadata.get_all("Classifier") or []
        if line.startswith("License :: ") and line != "License :: OSI Approved"
    ]
    if classifiers:
        return " AND ".join(sorted(set(classifiers)))
    text = (metadata.get("License") or "").strip()
    first = text.splitlines()[0].strip() if text else ""
    return first if 0 < len(first) <= _LONGEST_NAME else _UNKNOWN


def bill() -> dict[str, Any]:
    """The bill of materials, equal for equal environments: no time, no random number."""
    packages = installed()
    urls = {name: f"pkg:pypi/{name}@{found.version}" for name, found in packages.items()}
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {"component": {"type": "application", "name": "regraft"}},
        "components": [_component(name, found, urls[name]) for name, found in packages.items()],
        "dependencies": [
            {"ref": urls[name], "dependsOn": [urls[n] for n in _needs(found) if n in urls]}
            for name, found in packages.items()
        ],
    }


def _component(name: str, found: Distribution, url: str) -> dict[str, Any]:
    terms = licence(found)
    is_expression = bool(found.metadata.get("License-Expression"))
    entry = {"expression": terms} if is_expression else {"license": {"name": terms}}
    return {
        "type": "library",
        "bom-ref": url,
        "name": name,
        "version": found.version,
        "purl": url,
        "licenses": [entry],
    }


def _needs(found: Distribution) -> list[str]:
    """Names of the dependencies; those of extras only where they are installed anyway."""
    names = {re.split(r"[^A-Za-z0-9._-]", line)[0] for line in found.requires or []}
    return sorted({normalised(name) for name in names})


def table() -> str:
    """One line per package: name, version, licence; those without a licence last."""
    rows = [(name, found.version, licence(found)) for name, found in installed().items()]
    rows.sort(key=lambda row: (row[2] == _UNKNOWN, row[0]))
    return "\n".join(f"{name:<40} {version:<20} {terms}" for name, version, terms in rows)


if __name__ == "__main__":
    print(table() if sys.argv[1:] == ["--licences"] else json.dumps(bill(), indent=1))
