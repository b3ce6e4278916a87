"""Let torch's CUDA build load where CUDA's libraries were left out: images that run on CPUs.

The package index may have no CPU build of torch. The CUDA build names some dozen of NVIDIA's
libraries (3 GB) that the loader wants to find, but calls none of their functions without a GPU. So
each library that is missing becomes a link to the empty one that torch loads anyway, and extensions
bind functions when they are first called instead of all at once. What holds data that torch reads
while loading has to be there (`KEPT` in pinned.py). Does nothing to a CPU build.

Run by the Dockerfile in the environment to change; the import that follows it there is the check.
"""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sysconfig
from pathlib import Path

_EMPTY = "libtorch_global_deps.so"
_BIND_LATE = "import os, sys; sys.setdlopenflags(os.RTLD_LAZY)\n"
_FOR_COMPILERS = {".a", ".bc", ".h", ".cuh", ".hpp"}


def missing(library: Path) -> set[str]:
    """File names of the libraries that this one and those it needs ask for in vain."""
    found = subprocess.run(["ldd", str(library)], capture_output=True, text=True, check=True)
    return set(re.findall(r"(?m)^\s*(\S+) => not found", found.stdout))


def main() -> None:
    """Link what is missing, and say so."""
    spec = importlib.util.find_spec("torch")
    if spec is None or spec.origin is None:
        raise SystemExit("torch is not installed in the environment that runs this")
    libraries = Path(spec.origin).parent / "lib"
    names = missing(libraries / "libtorch_python.so")
    for name in sorted(names):
        (libraries / name).symlink_to(_EMPTY)
    site = Path(sysconfig.get_paths()["purelib"])
    if names:
        (site / "regraft_binds_late.pth").write_text(_BIND_LATE, encoding="utf-8")
    for path in (site / "nvidia").rglob("*"):
        if path.suffix in _FOR_COMPILERS:
            path.unlink()
    print(f"left out of torch: {', '.join(sorted(names)) or 'nothing'}")


if __name__ == "__main__":
    main()
