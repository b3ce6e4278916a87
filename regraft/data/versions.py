"""What data was this: a version that changes when, and only when, the data changes."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from regraft.data.files import is_ignored
from regraft.errors import UserError


def content_version(root: Path) -> str:
    """'sha256:<16 hex digits>' over the relative path and the content of every file.

    `root` is a folder, or a .csv/.jsonl table, which stands for itself and the files it names.
    Hidden files do not count; of a link that leaves the root only its target's name does.

    Raises UserError when `root` is missing or a file cannot be read.
    """
    root = Path(root)
    if not root.exists():
        raise UserError("the data root does not exist", where="data.root", got=str(root))
    root = root.resolve()
    files = sorted(_files(root) if root.is_dir() else _named(root))
    whole = hashlib.sha256()
    try:
        with ThreadPoolExecutor(min(os.cpu_count() or 1, 8)) as pool:
            digests = pool.map(lambda item: _digest(item[1], root), files)
            for (name, _), digest in zip(files, digests, strict=True):
                whole.update(f"{name}\0{digest}\n".encode("utf-8", "surrogateescape"))
    except PermissionError as error:
        raise UserError(
            "no permission to read a data file", where=str(error.filename), fix="chmod u+r"
        ) from error
    return f"sha256:{whole.hexdigest()[:16]}"


def dvc_version(repo: Path) -> str | None:
    """The version that `repo/data.dvc` records, if `repo/data` is exactly that version.

    None when nothing is tracked there, or when the folder has changed since `dvc add`: then the
    recorded version would be wrong, and `content_version` says what the data is. Computes DVC 3's
    directory hash itself (MD5 of a JSON list), so DVC need not be installed.
    """
    import yaml

    pointer, folder = Path(repo) / "data.dvc", Path(repo) / "data"
    if not pointer.is_file() or not folder.is_dir():
        return None
    recorded = yaml.safe_load(pointer.read_text(encoding="utf-8"))["outs"][0]["md5"]
    return recorded if recorded == _dvc_directory_hash(folder) else None


def _dvc_directory_hash(folder: Path) -> str:
    files = [p for p in folder.rglob("*") if p.is_file()]
    entries = [
        {
            "md5": hashlib.md5(p.read_bytes(), usedforsecurity=False).hexdigest(),
            "relpath": p.relative_to(folder).as_posix(),
        }
        for p in files
    ]
    entries.sort(key=lambda entry: entry["relpath"])
    listing = json.dumps(entries, sort_keys=True).encode()
    return hashlib.md5(listing, usedforsecurity=False).hexdigest() + ".dir"


def _files(root: Path) -> Iterator[tuple[str, Path]]:
    for folder, folders, names in os.walk(root):
        links = [name for name in folders if (Path(folder) / name).is_symlink()]
        folders[:] = [name for name in folders if not is_ignored(name)]
        for name in (*names, *links):
            if not is_ignored(name):
                path = Path(folder) / name
                yield path.relative_to(root).as_posix(), path


def _named(table: Path) -> Iterator[tuple[str, Path]]:
    from regraft.data.tables import listing_of, raw_table

    yield "", table
    raw = raw_table(table)
    if "path" not in raw:  # a table of questions holds its examples itself
        return
    listing = listing_of(raw, table, domains=[])
    for example, path in {*zip(listing["id"], listing["path"], strict=True)}:
        yield example, Path(path)


def _digest(path: Path, root: Path) -> str:
    base = root if root.is_dir() else root.parent
    leaves = path.is_symlink() and not path.resolve().is_relative_to(base)
    if leaves or path.is_dir() or not path.exists():
        return f"link or missing: {path.readlink() if path.is_symlink() else ''}"
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
