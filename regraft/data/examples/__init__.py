"""Example data that the project makes itself, so that every recipe runs without a download.

`python -m regraft.data.examples [FOLDER]` makes the whole `data/` folder, the version of which
`data.dvc` records.
"""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

from regraft.errors import UserError


def generate_all(data_root: Path | str) -> dict[str, int]:
    """Make every example set under `data_root`; returns the number of files written per set.

    Only missing or differing files are written, so a second call writes none.
    """
    from regraft.data.examples.field_notes import generate_field_notes
    from regraft.data.examples.health_questions import generate_health
    from regraft.data.examples.leaves import generate_leaves
    from regraft.data.examples.speech_sign import generate_speech_sign

    root = Path(data_root)
    return {
        "leaves": generate_leaves(root / "leaves"),
        "health": generate_health(root / "health"),
        "field_notes.jsonl": generate_field_notes(root),
        "speech_sign": generate_speech_sign(root / "speech_sign"),
    }


def keep_version(data_root: Path | str) -> str:
    """Put freshly drawn data into DVC's cache, which makes `dvc status` clean; says what was done.

    Nothing happens where `data_root` is not the folder that a `data.dvc` beside it records, or
    holds other data than recorded (then the sentence says so), or where DVC is not installed.
    Raises `UserError` when DVC fails.
    """
    from regraft.data.versions import dvc_version

    root = Path(data_root).resolve()
    pointer = root.parent / "data.dvc"
    if root.name != "data" or not pointer.is_file():
        return "no data.dvc beside it: the data are not under version control"
    if dvc_version(root.parent) is None:
        return f"{root} is not the version that {pointer.name} records (`dvc add data` records it)"
    if find_spec("dvc") is None or not (root.parent / ".dvc").is_dir():
        return f"{root} is the version that {pointer.name} records"
    command = [sys.executable, "-m", "dvc", "commit", "--quiet", pointer.name]
    done = subprocess.run(command, cwd=root.parent, capture_output=True, text=True, check=False)
    if done.returncode:
        raise UserError(
            "DVC could not take the example data into its cache",
            where=str(root.parent),
            got=done.stderr.strip(),
            fix="run `dvc doctor`, or remove .dvc/cache and try again",
        )
    return f"{root} is the version that {pointer.name} records; `dvc status` is clean"
