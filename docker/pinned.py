"""The direct dependencies of some extras, at the versions of the lock.

`python pinned.py LOCK EXTRA...` prints one `name==version ; marker` per line for the library and
the named extras, `python pinned.py LOCK --only NAME...` those of single distributions, and
`python pinned.py LOCK --for-gpus` the names that an image for CPUs leaves out. The builder gives
that to uv with the lock as constraints: uv then takes every hash, of what these need too, from the
lock, and refuses what is not in it. So one lock serves every image and each image holds only its
part. Needs nothing but the standard library.
"""

from __future__ import annotations

import re
import sys
import tomllib
from pathlib import Path

_NAME = re.compile(r"^([A-Za-z0-9._-]+)(\[[^\]]+\])?")
_FOR_GPUS = re.compile(r"(?m)^((?:nvidia-|triton)[a-z0-9-]*)==")
KEPT = re.compile("nvidia-(cuda-runtime|cuda-cupti|nvshmem)")
"""What torch needs to load: see without_cuda.py."""


def pinned(project: dict[str, object], lock: str, extras: list[str]) -> list[str]:
    """Pinned lines for the base and `extras` of a pyproject's `project` table."""
    known = project["optional-dependencies"]
    assert isinstance(known, dict)
    unknown = sorted(set(extras) - set(known))
    if unknown:
        raise SystemExit(f"pyproject.toml has no extra {', '.join(unknown)}")
    wanted = [*project["dependencies"], *(line for extra in extras for line in known[extra])]  # type: ignore[misc]
    return [line for requirement in wanted for line in _lines(requirement, lock)]


def _lines(requirement: str, lock: str) -> list[str]:
    """The lock has one line per range of Python; its markers choose."""
    found = _NAME.match(requirement)
    assert found is not None, requirement
    name = re.sub(r"[-_.]+", "-", found[1]).lower()
    pins = re.findall(rf"(?m)^{re.escape(name)}(==[^\\\n]*?) *\\?$", lock)
    if not pins:
        raise SystemExit(f"the lock has no {name}: make lock")
    return [f"{name}{found[2] or ''}{pin}" for pin in pins]


def for_gpus(lock: str) -> list[str]:
    """Distributions of the lock that are of use only with a GPU."""
    return sorted({name for name in _FOR_GPUS.findall(lock) if not KEPT.match(name)})


def main(lock: str, *arguments: str) -> None:
    """Print the lines."""
    text = Path(lock).read_text(encoding="utf-8")
    if arguments[:1] == ("--only",):
        lines = [line for name in arguments[1:] for line in _lines(name, text)]
    elif arguments == ("--for-gpus",):
        lines = for_gpus(text)
    else:
        project = tomllib.loads(Path("pyproject.toml").read_text(encoding="utf-8"))["project"]
        lines = pinned(project, text, list(arguments))
    print("\n".join(lines))


if __name__ == "__main__":
    main(*sys.argv[1:])
