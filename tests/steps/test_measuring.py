"""What is counted where test examples have labels that no model has learned."""

from __future__ import annotations

import numpy as np
import pandas as pd

from regraft.steps.measuring import Answers, metrics_of, scored_rows, slices_of

ROWS = pd.DataFrame(
    {
        "label": ["yes", "no", "yes", "a yak", None],
        "split": ["train", "test", "test", "test", "test"],
        "domain": "",
        "group": list("abcde"),
    }
)


def test_an_answer_that_was_never_learned_is_missed_and_not_left_out() -> None:
    test, shown = scored_rows(ROWS, ["no", "yes"], open_answers=True)
    assert shown == ["no", "yes", "a yak"]
    sure = np.array([[0.9, 0.1], [0.1, 0.9], [0.2, 0.8]])
    answers = Answers(sure, sure, 1.0).over(["no", "yes"], shown)
    found = metrics_of(test, answers.probabilities, shown, {}, 0)["test"]
    assert found["count"] == 3
    assert found["accuracy"] == 2 / 3
    closed, same = scored_rows(ROWS, ["no", "yes"], open_answers=False)
    assert (len(closed), same) == (2, ["no", "yes"])


def test_only_slices_that_are_large_enough_are_scored() -> None:
    rows = pd.DataFrame({"kind": ["a"] * 25 + ["b"] * 20 + ["c"] * 19, "same": "x"})
    found = slices_of(rows, {"kind": "sort", "same": "same", "missing": "missing"})
    assert {name: int(mask.sum()) for name, mask in found.items()} == {"sort: a": 25, "sort: b": 20}
