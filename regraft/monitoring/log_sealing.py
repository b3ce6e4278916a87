"""What happens to records behind the writers' backs: tails become segments, the oldest go."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pandas as pd

from regraft.monitoring import kept_inputs, labels_file
from regraft.monitoring.log_folder import (
    CORRUPT,
    TAIL,
    Held,
    LogLock,
    bytes_of,
    content_of,
    rotated_tails,
    sealing,
    segments,
)
from regraft.monitoring.record import parsed
from regraft.monitoring.segments import (
    Part,
    is_whole,
    read_columns,
    read_segment,
    table_of,
    write_segment,
)

KEYS = ("id", "input_hash", "input_path")


def rotate(folder: Path, held: Held) -> None:
    """Begin a new tail while the lock is held; the old one waits for being sealed."""
    tail = folder / TAIL
    if not tail.exists():
        return
    number = held.counters.next_sequence
    while (target := folder / f"tail-{number:012d}.log").exists():
        number += 1
    held.counters.rows, held.counters.rotated_at = 0, held.counters.used
    held.save()
    tail.rename(target)


def seal(lock: LogLock, *, rows: int = 0, limit_bytes: int = 0) -> None:
    """Turn every tail that waits into a segment. Killed at any moment, nothing is lost: the tail
    goes when its segment is on the disk, and whoever reads both drops what is there twice.

    A tail is joined to the last segment while both hold at most `rows` answers, and `limit_bytes`
    with the inputs they name: a server with little to do would leave thousands of tiny segments.
    """
    with sealing(lock.folder):
        for path in rotated_tails(lock.folder):
            replaced = [path]
            lines = parsed(path.read_bytes())
            made = [_aside(path, lines.damaged)] if lines.damaged else []
            if lines.values:
                part = table_of(lines.values)
                earlier = _joinable(lock.folder, len(lines.values), rows, limit_bytes)
                if earlier is not None:
                    part = _joined(read_segment(earlier), part)
                    replaced.append(earlier)
                made.append(write_segment(lock.folder, *part))
            gained = sum(_bytes(one) for one in made) - sum(_bytes(one) for one in replaced)
            for one in set(replaced) - set(made):
                one.unlink()
            with lock.held() as held:
                held.counters.used = max(held.counters.used + gained, 0)
                held.save()


def _aside(path: Path, lines: list[bytes]) -> Path:
    damaged = path.with_name(f"{path.name}.lines{CORRUPT}")
    damaged.write_bytes(b"\n".join(lines) + b"\n")
    return damaged


def _joinable(folder: Path, new_rows: int, rows: int, limit_bytes: int) -> Path | None:
    """The last segment, if it is small and whole."""
    for path in segments(folder)[-1:]:
        keys = read_columns(path, KEYS)
        if not 0 < len(keys) <= rows - new_rows:
            return None
        inputs = sum(_bytes(folder / name) for name in set(keys["input_path"]) - {""})
        if 2 * (_bytes(path) + inputs) > limit_bytes or not is_whole(path):
            return None
        return path
    return None


def _joined(one: Part, two: Part) -> Part:
    both = pd.concat([one[0], two[0]], ignore_index=True)
    keep = ~both["id"].duplicated()  # a tail that was sealed, and not removed, by a killed process
    embeddings = [found for found, first in zip([*one[1], *two[1]], keep, strict=True) if first]
    return both[keep].reset_index(drop=True), embeddings


def _bytes(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def make_room(lock: LogLock, *, goal_bytes: int) -> None:
    """Remove the oldest segments until the log has at most `goal_bytes`, and with them the kept
    inputs and the labels that no other record needs."""
    folder = lock.folder
    with sealing(folder):
        sealed = {path: read_columns(path, KEYS) for path in segments(folder)}
        references = Counter(name for keys in sealed.values() for name in set(keys["input_path"]))
        damaged = sorted(folder.glob(f"*{CORRUPT}"))
        with lock.held() as held:  # nobody appends, so no input waits for its record
            tails = pd.concat([keys_of(path) for path in [folder / TAIL, *rotated_tails(folder)]])
            references.update(set(tails["input_path"]))
            strays = set(kept_inputs.listed(folder)) - set(references)
            _unlink_strays(folder, strays)
            total = bytes_of(folder)
            for path in [*damaged, *sealed]:
                if total <= goal_bytes:
                    break
                total -= path.stat().st_size
                path.unlink()
                names = set(sealed.pop(path)["input_path"]) if path in sealed else set()
                references.subtract(names)
                total -= kept_inputs.remove(folder, [n for n in names if not references[n]])
            labels_file.compact(folder, known_keys([*sealed.values(), tails]))
            held.counters.used = bytes_of(folder)
            held.counters.rotated_at = min(held.counters.rotated_at, held.counters.used)
            held.save()


def _unlink_strays(folder: Path, names: set[str]) -> None:
    for name in names:
        (folder / name).unlink(missing_ok=True)


def keys_of(path: Path) -> pd.DataFrame:
    """id, input_hash and input_path of the records in a tail."""
    values = [fields for _, fields in parsed(content_of(path)).values]
    return pd.DataFrame({name: [fields[name] for fields in values] for name in KEYS})


def known_keys(tables: list[pd.DataFrame]) -> set[labels_file.Key]:
    """What labels of these records may be about."""
    return {(kind, value) for table in tables for kind in KEYS[:2] for value in table[kind]}
