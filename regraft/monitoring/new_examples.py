"""What the live side has to offer for training: answered inputs whose files are still there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from regraft.monitoring.log_folder import log_folder
from regraft.monitoring.log_reading import read_log

COLUMNS = ["path", "sha256", "label", "predicted", "confidence", "position", "arrived"]


def new_examples(window: pd.DataFrame, log: pd.DataFrame | None = None) -> pd.DataFrame:
    """One row per different input: path, sha256, label (None if unknown), predicted, confidence,
    `position`, which counts up with time, and `arrived`, the order in which labels became known.

    `window` are the rows that drifted, `log` the whole prediction log (columns as in
    `monitoring.log_reading`): from the first row of the window on it is taken too, because labels
    come late. Inputs without a file are left out. Of an input that was asked about several times
    the first row counts, with the last label that became known.
    """
    rows = pd.concat([window, _since(window, log)], ignore_index=True)
    rows = rows.drop_duplicates("id", keep="last") if "id" in rows else rows
    truth = [_label(value) for value in rows["truth"]]
    found = pd.DataFrame(
        {
            "path": rows["input_path"].to_numpy(object),
            "sha256": rows["input_hash"].to_numpy(object),
            "label": pd.Series(truth, dtype=object).to_numpy(object),
            "predicted": rows["label"].to_numpy(object),
            "confidence": rows["confidence"].to_numpy(float),
            "position": range(len(rows)),
            "arrived": rows.get("truth_order", pd.Series(range(len(rows)))).to_numpy(float),
        }
    )
    last = found.dropna(subset=["label"]).sort_values("arrived", kind="stable")
    last = last.drop_duplicates("sha256", keep="last").set_index("sha256")
    found = found[[_is_file(path) for path in found["path"]]].drop_duplicates("sha256")
    known = found["sha256"].map(last["label"])
    found["label"] = [None if pd.isna(label) else label for label in known]
    found["arrived"] = found["sha256"].map(last["arrived"])
    return found.reset_index(drop=True)[COLUMNS]


def whole_log(name: str) -> pd.DataFrame | None:
    """Every row of the prediction log of a model with its truth; None where there is no log."""
    folder = log_folder(name)
    return read_log(folder).rows if folder.is_dir() else None


def _since(window: pd.DataFrame, log: pd.DataFrame | None) -> pd.DataFrame:
    """The log's rows from the first one that is in the window on; none where no row is."""
    if log is None or not len(log) or "id" not in window:
        return window.iloc[:0]
    shared = log["id"].isin(set(window["id"])).to_numpy()
    return log.iloc[int(shared.argmax()) :] if shared.any() else window.iloc[:0]


def _label(value: Any) -> str | None:
    return None if value is None or pd.isna(value) or not str(value).strip() else str(value).strip()


def _is_file(path: Any) -> bool:
    return isinstance(path, str) and bool(path) and Path(path).is_file()
