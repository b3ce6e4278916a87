"""The report says what was chosen and why, and what adaptation cost the source."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from regraft.evaluation.choices import adaptation, choices, forgetting, stage_rows
from regraft.evaluation.model_card import write_model_card
from regraft.evaluation.report import write_report
from tests.evaluation.conftest import CHOICES, domains

BY = ("information_maximisation", "target_log_loss")


def card(
    chosen: str, *scores: tuple[str, float, bool], by: str = "information_maximisation"
) -> dict[str, Any]:
    rows = [
        {"kind": kind, "background": False, by if by in BY else BY[0]: score, "allowed": allowed,
         "target_classes": [8, 2, 0]}
        for kind, score, allowed in scores
    ]  # fmt: skip
    return {"chosen": chosen, "chosen_by": by, "candidates": rows}


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (card("standardise", ("source_only", 0.4, True), ("standardise", 0.6, True)),
         "Chosen: standardise, for the highest"),
        (card("source_only", ("source_only", 0.4, True), ("standardise", 0.6, False)),
         "Chosen: no adaptation"),
        (card("standardise", ("source_only", 0.6, True), ("standardise", 0.4, True),
              by="target_log_loss"),
         "for the lowest log loss on held-out target labels (0.400; 0.600 without adaptation)"),
        (card("standardise", ("source_only", 0.4, True), ("standardise", 0.6, False), by="name"),
         "The recipe asks for standardise"),
        (card("standardise", ("source_only", 0.4, True), ("standardise", 0.2, True), by="name"),
         "The recipe asks for standardise"),
        (card("source_only", ("source_only", 0.4, True)), "nothing was compared"),
    ],
    ids=["best", "held back", "by labels", "by name, forgetting", "by name, worse", "alone"],
)  # fmt: skip
def test_one_sentence_says_why(given: dict[str, Any], words: str) -> None:
    assert words in adaptation(given)["sentence"]


def test_several_that_make_one_head_are_told_with_their_weights() -> None:
    given = card("standardise", ("source_only", 0.5, True), ("standardise", 0.4, True),
                 by="target_log_loss")  # fmt: skip
    for row, weight in zip(given["candidates"], (0.2, 0.8), strict=True):
        row["weight"] = weight
    assert "standardise 80%, source only 20%" in adaptation(given)["sentence"]
    for row, weight in zip(given["candidates"], (0.0, 1.0), strict=True):
        row["weight"] = weight
    assert "Chosen: standardise" in adaptation(given)["sentence"]


def test_a_collapsed_candidate_is_seen() -> None:
    (row,) = adaptation(card("source_only", ("source_only", 0.1, True)))["rows"]
    assert (row["classes_used"], row["classes"], row["largest_class"]) == (2, 3, 0.8)


def test_points_lost_are_counted_against_the_probe() -> None:
    metrics = {"teacher": domains(0.96, 0.7), "baselines": {"probe": domains(0.98, 0.3)}}
    found = forgetting(metrics)
    assert found is not None
    assert found["rows"][0]["drop_pp"] == pytest.approx(2.0)
    assert forgetting({"teacher": {"test": {}}, "baselines": {"probe": {"test": {}}}}) is None


def test_a_stage_that_did_not_help_is_dropped() -> None:
    def stage(name: str, *losses: float) -> dict[str, Any]:
        kept = 2 if name == "a" else None
        epochs = [{"val_loss": loss, "target_score": -loss} for loss in losses]
        return {"name": name, "epochs": epochs, "chosen_epoch": kept}

    stages = [stage("probe", 0.5), stage("a", 0.6, 0.4), stage("b", 0.41)]
    for measure, sign in (("val_loss", 1), ("target_score", -1)):
        rows = stage_rows("teacher", {"stages": stages, "chosen": {"by": measure}})
        assert [(row["stage"], row["before"], row["best"], row["kept"]) for row in rows] == [
            ("a", sign * 0.5, sign * 0.4, True), ("b", sign * 0.4, sign * 0.41, False),
        ]  # fmt: skip


def test_an_epoch_that_forgot_is_not_kept_for_its_score() -> None:
    stages = [
        {"name": "probe", "epochs": [{"target_score": 0.5}], "chosen_epoch": 0},
        {"name": "a", "epochs": [{"target_score": 0.9}], "chosen_epoch": None},
        {"name": "b", "epochs": [{"target_score": 0.6}], "chosen_epoch": 1},
    ]
    rows = stage_rows("teacher", {"stages": stages, "chosen": {"by": "target_score"}})
    assert [(row["before"], row["kept"]) for row in rows] == [(0.5, False), (0.5, True)]


@pytest.mark.parametrize(
    ("chosen", "verb"), [("self_training", "taught"), ("labelled_only", "did not")]
)
def test_what_unlabelled_examples_did_is_told(
    chosen: str, verb: str, make_content: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    rows = [
        {"kind": "labelled_only", "held_out_loss": 0.2},
        {"kind": "self_training", "held_out_loss": 0.1},
    ]
    card = {"chosen": chosen, "unlabelled": 90, "candidates": rows}
    found = choices({"teacher": {"stages": [], "semi_supervised": card}}, {})
    assert found is not None and f"90 unlabelled examples {verb}" in found["semi_supervised"]
    write_report(tmp_path / "report.html", make_content() | {"choices": found})
    assert found["semi_supervised"] in (tmp_path / "report.html").read_text(encoding="utf-8")


def test_nothing_chosen_is_nothing_shown() -> None:
    assert choices({}, {"teacher": {"test": {}}}) is None
    assert choices({"teacher": {"stages": [], "chosen": {}}}, {"baselines": {}}) is None


def test_the_section_shows_all_of_it(
    make_content: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    write_report(tmp_path / "report.html", make_content())
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    section = text[text.index('<section id="choices"') : text.index('<section id="learning"')]
    for words in (
        "Chosen: self training, source examples also on target backgrounds",
        "of those that keep the source", "no: left out", "diverged", "goes on", "won",
        "+0.008", "The gate allows 1.5 points", "within",
        "too much", CHOICES["strategy"]["reason"][1:], "<svg", "What each stage bought",
    ):  # fmt: skip
        assert words in section, words


def test_the_model_card_tells_it_in_words(
    make_content: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    write_model_card(tmp_path / "card.md", make_content())
    card = (tmp_path / "card.md").read_text(encoding="utf-8")
    assert "Strategy chosen by the run: last 2, then 4 blocks, rate x 3, mixup (100" in card
    assert "Chosen: self training" in card
    assert "Source accuracy 97.8% before (probe); after: teacher 97.1%, student 95.8%." in card
