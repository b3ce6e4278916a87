"""What can be wrong with image-text pairs, as Great Expectations suites."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pandas as pd

from regraft.data.pairs import usable
from regraft.data.quality import Check, Suite, run_checks

_MOST_LEAKING = 0.5
_FEWEST = 5
LEAK = "text_says_label"

# What `pairs.read_pairs` finds; each is an expectation of its own, so that the page names them.
_PROBLEMS = {
    "missing_file": "every text has its image",
    "not_an_image": "the image is a picture",
    "truncated": "the image is complete",
    "corrupt": "the image decodes",
    "empty_file": "the image file has content",
    "too_many_pixels": "the image is no decompression bomb",
    "link_outside_root": "links stay inside the folder of the table",
    "empty_text": "every image has its text",
    "text_too_long": "no text is longer than a document",
    "no_label": "every pair has a target",
    "conflicting_labels": "the same pair has one target",
    "repeated_pair": "no pair occurs twice",
}


def leaking_labels(pairs: pd.DataFrame) -> pd.DataFrame:
    """One row per label: in what share of its texts it stands as a word (`said`), in what share of
    the others (`said_elsewhere`), and whether it `leaks`: of at least five texts more than half say
    it, three times as many as elsewhere. A question that offers a choice says all of its answers
    and leaks none.
    """
    texts = pairs["text"].str.casefold()
    rows = []
    for label, own in pairs.groupby("label").groups.items():
        said = texts.str.contains(rf"\b{re.escape(str(label).casefold())}\b")
        here = float(said[own].mean())
        elsewhere = float(said.drop(own).mean()) if len(own) < len(pairs) else 0.0
        leaks = len(own) >= _FEWEST and here > _MOST_LEAKING and here >= 3 * elsewhere
        rows.append((label, len(own), here, elsewhere, leaks))
    return pd.DataFrame(rows, columns=["label", "pairs", "said", "said_elsewhere", "leaks"])


def with_leaking_labels(usable: pd.DataFrame) -> pd.DataFrame:
    """Add the flag text_says_label to the pairs of a label that leaks (see `leaking_labels`)."""
    if "text" not in usable or not usable["label"].notna().any():
        return usable
    found = leaking_labels(usable.dropna(subset="label"))
    leaking = usable["label"].isin(found.loc[found["leaks"], "label"])
    flags = [
        ",".join(sorted(filter(None, [*str(own).split(","), LEAK if leaks else ""])))
        for own, leaks in zip(usable["quality_flags"], leaking, strict=True)
    ]
    return usable.assign(quality_flags=flags)


PAIR_SUITE = Suite(
    problems={
        "missing_file": "every text has its image",
        "no_image": "every text names an image",
        "no_text": "every image has its text",
        "not_a_pair": "the file is a pair",
        "not_an_image": "the image is a picture",
        "truncated": "the image is complete",
        "corrupt": "the image decodes",
        "empty_file": "the image file has content",
        "too_small": "the image is large enough",
        "too_many_pixels": "the image is no decompression bomb",
        "link_outside_root": "links stay inside the folder of the table",
        "empty_text": "the text has a word in it",
        "too_long": "the text is not too long",
        "no_label": "every pair has a target",
        "conflicting_labels": "the same pair has one target",
        "exact_duplicate": "no pair occurs twice",
    },
    flags={
        LEAK: "no text says its label",
        "near_duplicate_other_label": "the same question about the same scene has one answer",
        r"(?:^|,)markup(?:,|$)": "the text has no markup",
        "personal_data": "the text has no e-mail address or telephone number",
    },
)


def check_pairs(pairs: pd.DataFrame, docs: Path) -> list[dict[str, Any]]:
    """Check what `read_pairs` returned and write `docs/index.html`; entries as
    `quality.run_expectations` returns them. What fails on `incoming` is left out of what goes on;
    what fails on `pairs` or `labels` is a defect of the data."""
    good = usable(pairs)
    tables = {
        "incoming": pairs,
        "pairs": good.assign(sides=good.groupby("group")["split"].transform("nunique")),
        "labels": leaking_labels(good),
    }
    return run_checks(_checks(), tables, docs)


def _checks() -> list[Check]:
    absent, in_set = "ExpectColumnValuesToNotBeInSet", "ExpectColumnValuesToBeInSet"
    between = "ExpectColumnValuesToBeBetween"
    found = [
        Check("incoming", absent, "reason", meaning, {"value_set": [reason]})
        for reason, meaning in _PROBLEMS.items()
    ]
    apart = "no image is in two splits"
    silent = "no text says its label"
    return [
        *found,
        Check("pairs", between, "sides", apart, {"min_value": 1, "max_value": 1}),
        Check("labels", in_set, "leaks", silent, {"value_set": [False]}),
    ]
