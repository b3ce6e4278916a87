"""`python -m regraft.data.examples [FOLDER]`: draw the example data (default: data)."""

from __future__ import annotations

import sys
from pathlib import Path

from regraft.data.examples import generate_all, keep_version


def main() -> None:
    root = Path(sys.argv[1] if len(sys.argv) > 1 else "data")
    for name, written in generate_all(root).items():
        print(f"{root / name}: {written} files written")
    print(keep_version(root))


if __name__ == "__main__":
    main()
