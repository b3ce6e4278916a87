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
from regraft.monitoring.segments import read_columns, table_of, write_segment

KEYS = ("id", "input_hash", "input_path")


def rotate(folder: Path, held: Held) -> None:
    """Begin a new tail while the lock is held; the old one waits for being sealed."""
    tail = folder / TAIL
    if not tail.exists() or tail.stat().st_size == 0:
        return
    number = held.counters.next_sequence
    while (target := folder / f"tail-{number:012d}.log").exists():
        number += 1
    held.counters.rows, held.counters.rotated_at = 0, held.counters.used
    held.save()
    tail.rename(target)


def seal(lock: LogLock) -> None:
    """Turn every tail that waits into a segment. Killed at any moment, nothing is lost: the tail
    goes when its segment is on the disk, and whoever reads both drops what is there twice."""
    with sealing(lock.folder):
        for path in rotated_tails(lock.folder):
            before = path.stat().st_size
            after = _seal(path)
            path.unlink()
            with lock.held() as held:
                held.counters.used = max(held.counters.used + after - before, 0)
                held.save()


def _seal(path: Path) -> int:
    """Bytes of the files made of a tail."""
    lines = parsed(path.read_bytes())
    made = []
    if lines.damaged:
        made.append(path.with_name(f"{path.name}.lines{CORRUPT}"))
        made[0].write_bytes(b"\n".join(lines.damaged) + b"\n")
    if lines.values:
        made.append(write_segment(path.parent, *table_of(lines.values)))
    return sum(one.stat().st_size for one in made)


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
