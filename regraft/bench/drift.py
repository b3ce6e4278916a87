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
from regraft.monitoring.monitors import Test
from regraft.monitoring.samples import Sample
from regraft.monitoring.verdict import Verdict, judge
from regraft.progress import track
from regraft.recipe.monitoring import MonitoringOptions
from regraft.shift.cross_validation import wilson_interval

_SOON = 2
_FIELD = 100

Measurements = list[list[Test]]
"""The tests of each window of a stream."""


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
    **counts: int,
) -> list[dict[str, Any]]:
    """One row per kind of stream, over `repetitions` streams with champions of their own.

    A row: stream, what, streams, windows, shifted_windows and alarmed_windows (share, interval),
    alarmed_streams (share, interval), seen_by {monitor: share of windows in which it fired}; with a
    shift also delay (windows from its start to the alarm, median; None if most never alarm),
    `soon` (share of streams that alarm within two windows, interval) and delay_alone {monitor: the
    delay if it were the only one}. Intervals are 95 %, those of windows by bootstrap over streams.
    The quality monitor, which never alarms, is left out. `counts` are those of `Champion`.
    """
    measured: dict[str, list[Measurements]] = {kind.name: [] for kind in kinds}
    for seed in track(range(repetitions), "streams of each kind", total=repetitions):
        for knows_field in (False, True):
            own = [kind for kind in kinds if kind.knows_field == knows_field]
            field = _FIELD if knows_field else 0
            champion = Champion(photos, seed, **counts, field=field)
            base = baseline(
                champion.reference(), enough_rows_in_domain=options.enough_rows_in_domain, seed=seed
            )
            for kind in own:
                windows = windows_of(
                    champion, kind, size=options.window, labels=labels, seed=kind.seed + seed
                )
                measured[kind.name].append(_tests(base, windows, options))
    return [_row(kind, measured[kind.name], options) for kind in kinds]


def _tests(base: Baseline, windows: Sequence[Sample], options: MonitoringOptions) -> Measurements:
    found = []
    for window in windows:
        measured = measure(base, window, options)
        assert not measured.problem, measured.problem
        found.append(measured.tests)
    return found


def _alarms(
    streams: Sequence[Measurements], options: MonitoringOptions
) -> tuple[np.ndarray, np.ndarray]:
    """Which windows are shifted, and which alarm, both (streams, windows)."""
    verdicts = [_verdicts(stream, options) for stream in streams]
    shifted = np.array([[verdict.shifted for verdict in stream] for stream in verdicts])
    return shifted, np.array([[verdict.drifted for verdict in stream] for stream in verdicts])


def _verdicts(stream: Measurements, options: MonitoringOptions) -> list[Verdict]:
    found: list[Verdict] = []
    for tests in stream:
        before = [verdict.shifted for verdict in found]
        found.append(
            judge(tests, alpha=options.alpha, persistence=options.persistence, before=before)
        )
    return found


def _row(
    kind: Stream, streams: Sequence[Measurements], options: MonitoringOptions
) -> dict[str, Any]:
    """What came of all streams of a kind."""
    shifted, alarmed = _alarms(streams, options)
    row = {
        "stream": kind.name,
        "what": kind.what,
        "streams": len(streams),
        "windows": int(shifted.size),
        "shifted_windows": _share_of_windows(shifted),
        "alarmed_windows": _share_of_windows(alarmed),
        "alarmed_streams": _share(np.asarray(alarmed.any(1))),
        "seen_by": _seen_by(streams, options),
    }
    if not kind.shifted:
        return row
    names = sorted({test.monitor for stream in streams for tests in stream for test in tests})
    return row | {
        "delay": _median(_delays(alarmed)),
        "soon": _share(np.asarray(_delays(alarmed) <= _SOON)),
        "delay_alone": {name: _delay_alone(name, streams, options) for name in names},
    }


def _delay_alone(
    name: str, streams: Sequence[Measurements], options: MonitoringOptions
) -> float | None:
    """The delay if this monitor were the only one."""
    own = [[[t for t in tests if t.monitor == name] for tests in stream] for stream in streams]
    return _median(_delays(_alarms(own, options)[1]))


def _delays(alarmed: np.ndarray) -> np.ndarray:
    """Windows until the first alarm, itself included; infinite without one."""
    return np.where(alarmed.any(1), alarmed.argmax(1) + 1, np.inf)


def _median(delays: np.ndarray) -> float | None:
    middle = float(np.median(delays))
    return middle if np.isfinite(middle) else None


def _share(flags: np.ndarray) -> dict[str, Any]:
    share = float(flags.mean())
    return {"share": share, "interval": list(wilson_interval(share, len(flags)))}


def _share_of_windows(flags: np.ndarray) -> dict[str, Any]:
    """Of (streams, windows); windows of a stream share photos, so streams are resampled."""
    groups = np.repeat(np.arange(len(flags)), flags.shape[1])
    interval = accuracy_interval(flags.ravel(), groups)
    return {"share": float(flags.mean()), "interval": list(interval)}


def _seen_by(streams: Sequence[Measurements], options: MonitoringOptions) -> dict[str, float]:
    """Share of the windows in which a monitor fires."""
    verdicts = [verdict for stream in streams for verdict in _verdicts(stream, options)]
    fired = [{row["monitor"] for row in verdict.tests if row["fires"]} for verdict in verdicts]
    names = sorted({row["monitor"] for verdict in verdicts for row in verdict.tests})
    return {name: round(float(np.mean([name in one for one in fired])), 4) for name in names}
