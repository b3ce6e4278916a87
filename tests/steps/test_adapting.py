"""The head is adapted where there is an unlabelled target that has shifted, and only there."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from regraft.recipe.adaptation import AdaptationOptions
from regraft.steps.adapting import AdaptedHead, adapted_head, semi_supervised_head_of
from regraft.transfer.adaptation.domains import SOURCE
from tests.transfer.adaptation.support import blobs

CLASSES = ["blight", "healthy", "rust"]


def adapt(folder: Path, *, shifted: bool = True, unlabelled: int = 120, **how: Any) -> Any:
    """`adapted_head` on files as the steps before write them."""
    domains, truth = blobs(0.4)
    source = domains.domain == SOURCE
    rows = pd.DataFrame(
        {
            "id": [f"photo {number}" for number in range(len(source))],
            "group": [f"group {number}" for number in range(len(source))],
            "domain": np.where(source, "lab", "field"),
            "split": np.where(source, "train", "unlabelled"),
            "label": np.where(source, np.array(CLASSES)[np.tile(truth, 2)], None),
        }
    ).head(len(truth) + unlabelled)
    names = rows["id"].to_numpy(str)
    np.savez(folder / "features.npz", ids=names, averaged=domains.features[: len(rows)])
    np.savez(folder / "views.npz")
    (folder / "shift.json").write_text(json.dumps({"shifted": shifted}), encoding="utf-8")
    options = AdaptationOptions(**how).model_dump()
    return adapted_head(rows, CLASSES, folder, folder, options, seed=0)


def test_a_shifted_target_is_adapted_to(tmp_path: Path) -> None:
    found = adapt(tmp_path)
    assert isinstance(found, AdaptedHead)
    assert found.card["chosen"] in ("standardise", "self_training")
    domains, truth = blobs(0.4)
    target = domains.features[domains.domain != SOURCE]
    assert (found.head.logits(target).argmax(1) == truth).mean() > 0.9
    assert np.isfinite(found.head.weight).all()
    json.dumps(found.card, allow_nan=False)


def test_a_target_that_does_not_differ_is_left_alone_unless_asked(tmp_path: Path) -> None:
    assert adapt(tmp_path, shifted=False) is None
    assert adapt(tmp_path, shifted=False, when="always") is not None


@pytest.mark.parametrize("unlabelled", [0, 1, 2])
def test_without_a_target_to_speak_of_nothing_is_adapted(
    unlabelled: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert adapt(tmp_path, unlabelled=unlabelled) is None
    assert ("fewer than 3" in capsys.readouterr().err) == (unlabelled > 0)


def test_three_target_examples_are_enough_to_compare(tmp_path: Path) -> None:
    assert adapt(tmp_path, unlabelled=3).card["chosen"]


def semi(folder: Path, *, domain: str = "field", kind: str = "auto", labelled: int = 30) -> Any:
    """`semi_supervised_head_of` on photos of which `labelled` have a label."""
    domains, truth = blobs(0.0)
    n = len(truth)
    known = np.arange(n) < labelled
    rows = pd.DataFrame(
        {
            "id": [f"photo {number}" for number in range(n)],
            "group": [f"group {number}" for number in range(n)],
            "domain": np.where(known, "field", domain),
            "split": np.where(known, "train", "unlabelled"),
            "label": np.where(known, np.array(CLASSES)[truth], None),
        }
    )
    x = domains.features[domains.domain == SOURCE][:n]
    order = np.random.default_rng(0).permutation(n)  # the archive has its own order
    np.savez(folder / "features.npz", ids=rows["id"].to_numpy(str)[order], averaged=x[order])
    np.savez(folder / "views.npz", train=np.repeat(x[known][:, None], 2, axis=1))
    options = AdaptationOptions(semi_supervised=kind).model_dump()
    return semi_supervised_head_of(rows, CLASSES, folder, options, seed=0), x, truth


def test_unlabelled_examples_of_the_same_domain_are_compared(tmp_path: Path) -> None:
    found, x, truth = semi(tmp_path)
    assert found.card["unlabelled"] == len(truth) - 30
    assert [one["class_balance"] for one in found.card["candidates"]] == [None, 0.25, 0.5]
    if found.head is not None:
        assert (found.head.logits(x).argmax(1) == truth).mean() > 0.9
    assert adapt(tmp_path).card["candidates"]  # another domain stays a case for adaptation


def test_they_are_not_where_they_are_of_another_domain_or_it_is_off(tmp_path: Path) -> None:
    assert semi(tmp_path, domain="lab")[0] is None
    assert semi(tmp_path, kind="off")[0] is None
    assert semi(tmp_path, labelled=10**6)[0] is None
