"""`regraft bench drift`: how often do the monitors alarm without a shift, and how soon with one?"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from regraft.bench.drift_champion import Champion
from regraft.bench.drift_photos import Photos, embedded
from regraft.bench.drift_streams import Stream, windows_of
from regraft.bench.inputs import backbones, data_folder
from regraft.evaluation.bootstrap import accuracy_interval
from regraft.monitoring.baseline import Baseline, baseline
from regraft.monitoring.checking import measure
from regraft.monitoring.samples import Sample
from regraft.monitoring.verdict import Verdict, judge
from regraft.progress import track
from regraft.recipe.monitoring import MonitoringOptions
from regraft.shift.cross_validation import wilson_interval

_SOON = 2


def photos_of(*, data: str | None, weights: Sequence[str], out: Path) -> Photos:
    """The photos of the bench, embedded by the first backbone; kept in `out`."""
    return embedded(data_folder(data), backbones(weights)[0], out)


def measure_streams(
    photos: Photos,
    *,
    options: MonitoringOptions,
    repetitions: int,
    kinds: Sequence[Stream],
    labels: int,
) -> list[dict[str, Any]]:
    """One row per kind of stream, over `repetitions` streams with champions of their own.

    A row: stream, what, streams, windows, shifted_windows and alarmed_windows (share, interval),
    alarmed_streams (share, interval), seen_by {monitor: share of windows in which it fired}; with a
    shift also delay (windows from its start to the alarm, median; None if most never alarm) and
    `soon` (share of streams that alarm within two windows, interval). Intervals are 95 %, those
    of windows by bootstrap over streams. The quality monitor, which never alarms, is left out.
    """
    judged: dict[str, list[list[Verdict]]] = {kind.name: [] for kind in kinds}
    for seed in track(range(repetitions), "streams of each kind", total=repetitions):
        champion = Champion(photos, seed)
        base = baseline(
            champion.reference(), enough_rows_in_domain=options.enough_rows_in_domain, seed=seed
        )
        for number, kind in enumerate(kinds):
            own = windows_of(
                champion, kind, size=options.window, labels=labels, seed=1000 * number + seed
            )
            judged[kind.name].append(_verdicts(base, own, options))
    return [_row(kind, judged[kind.name]) for kind in kinds]


def _verdicts(
    base: Baseline, windows: Sequence[Sample], options: MonitoringOptions
) -> list[Verdict]:
    found: list[Verdict] = []
    for window in windows:
        measured = measure(base, window, options)
        assert not measured.problem, measured.problem
        before = [verdict.shifted for verdict in found]
        found.append(
            judge(
                measured.tests, alpha=options.alpha, persistence=options.persistence, before=before
            )
        )
    return found


def _row(kind: Stream, repeated: list[list[Verdict]]) -> dict[str, Any]:
    """What came of all streams of a kind."""
    shifted = np.array([[verdict.shifted for verdict in stream] for stream in repeated])
    alarmed = np.array([[verdict.drifted for verdict in stream] for stream in repeated])
    row = {
        "stream": kind.name,
        "what": kind.what,
        "streams": len(repeated),
        "windows": int(shifted.size),
        "shifted_windows": _share_of_windows(shifted),
        "alarmed_windows": _share_of_windows(alarmed),
        "alarmed_streams": _share(np.asarray(alarmed.any(1))),
        "seen_by": _seen_by([verdict for stream in repeated for verdict in stream]),
    }
    if kind.shifted:
        delays = np.where(alarmed.any(1), alarmed.argmax(1) + 1, np.inf)
        middle = float(np.median(delays))
        row |= {
            "delay": middle if np.isfinite(middle) else None,
            "soon": _share(np.asarray(delays <= _SOON)),
        }
    return row


def _share(flags: np.ndarray) -> dict[str, Any]:
    share = float(flags.mean())
    return {"share": share, "interval": list(wilson_interval(share, len(flags)))}


def _share_of_windows(flags: np.ndarray) -> dict[str, Any]:
    """Of (streams, windows); windows of a stream share photos, so streams are resampled."""
    groups = np.repeat(np.arange(len(flags)), flags.shape[1])
    interval = accuracy_interval(flags.ravel(), groups)
    return {"share": float(flags.mean()), "interval": list(interval)}


def _seen_by(verdicts: Sequence[Verdict]) -> dict[str, float]:
    fired = [{row["monitor"] for row in verdict.tests if row["fires"]} for verdict in verdicts]
    names = sorted({row["monitor"] for verdict in verdicts for row in verdict.tests})
    return {name: round(float(np.mean([name in one for one in fired])), 4) for name in names}
