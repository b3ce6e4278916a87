"""The list of what to label next: a table to fill in, and a page to look at."""

from __future__ import annotations

from html import escape
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

_PAGE = """<!doctype html><html lang="en"><meta charset="utf-8"><title>What to label next</title>
<style>body{{font:15px system-ui;margin:2rem}}figure{{display:inline-block;margin:.5rem;width:170px;
vertical-align:top}}img{{max-width:160px}}figcaption{{font-size:12px;word-break:break-all}}</style>
<h1>What to label next</h1><p>The most useful first: unsure answers, far from each other. Fill in
the column <code>label</code> of {table} and hand it over with <code>regraft feedback</code>.</p>
{figures}</html>
"""


def write_labelling_list(out: Path, examples: pd.DataFrame, *, count: int) -> str:
    """Write to_label.csv (id, label: empty, predicted, confidence, path) and to_label.html into
    `out`, and return the path of the table.

    `out` holds window.parquet and embeddings.npy of the window that drifted, `examples` are those
    of `monitoring.new_examples`: only inputs that are there and have no label are asked for.
    """
    from regraft.monitoring.active_learning import most_useful

    window = pd.read_parquet(out / "window.parquet")
    embeddings = np.load(out / "embeddings.npy")
    unlabelled = examples.loc[examples["label"].isna(), "sha256"]
    labelled = examples.loc[examples["label"].notna(), "sha256"]
    hashes = window["input_hash"]
    asked = np.flatnonzero((hashes.isin(unlabelled) & ~hashes.duplicated()).to_numpy())
    answers = window[[c for c in window.columns if str(c).startswith("p:")]].to_numpy(float)
    chosen = most_useful(
        embeddings[asked],
        answers[asked],
        count,
        labelled=embeddings[hashes.isin(labelled).to_numpy()],
    )
    rows = window.iloc[asked[chosen]]
    table = pd.DataFrame(
        {
            "id": rows["id"].to_numpy(),
            "label": "",
            "predicted": rows["label"].to_numpy(),
            "confidence": rows["confidence"].round(4).to_numpy(),
            "path": rows["input_path"].to_numpy(),
        }
    )
    table.to_csv(out / "to_label.csv", index=False)
    _write_page(table, out)
    return str(out / "to_label.csv")


def _write_page(table: pd.DataFrame, out: Path) -> None:
    figures = "\n".join(_figure(row) for row in table.to_dict("records"))
    page = _PAGE.format(table="to_label.csv", figures=figures)
    (out / "to_label.html").write_text(page, encoding="utf-8")


def _figure(row: dict[Any, Any]) -> str:
    from regraft.evaluation.examples import open_file, show_examples

    shown = show_examples(open_file)(str(row["path"]))
    picture = (
        f'<img alt="" src="{shown["thumbnail"]}">'
        if "thumbnail" in shown
        else escape(shown["text"])
    )
    caption = f"{row['predicted']} ({row['confidence']:.2f})<br>{row['id']}"
    text = escape(caption).replace("&lt;br&gt;", "<br>")
    return f"<figure>{picture}<figcaption>{text}</figcaption></figure>"
