"""The table at the end of a run says the same as the summary."""

from __future__ import annotations

from typing import Any

from regraft.cli.tables import run_table


def figures(accuracy: float) -> dict[str, Any]:
    interval = {"accuracy": [accuracy - 0.1, accuracy + 0.05]}
    return {"accuracy": accuracy, "macro_f1": accuracy - 0.01, "ece": 0.02, "count": 40,
            "interval": interval}  # fmt: skip


def summary(**changes: Any) -> dict[str, Any]:
    metrics = {
        "teacher": {"test": figures(0.9), "cost": {"throughput_per_second": 50.0}},
        "student": {"test": figures(0.88), "retention": 0.978, "speedup": 3.1},
        "baselines": {"majority": {"test": figures(0.5)}, "probe": {"test": figures(0.85)}},
    }
    return {
        "recipe": "tiny",
        "served": "student",
        "metrics": metrics,
        "decision": {"outcome": "first", "reason": "no champion yet", "candidate_version": "1",
                     "champion_after": "1"},
        "seconds": 61.2,
        "cpu_seconds": 50.7,
        "reports": {"evaluation": "runs/tiny/report.html"},
        **changes,
    }  # fmt: skip


def test_every_model_and_baseline_has_a_line_and_the_served_one_a_star() -> None:
    lines = run_table(summary()).splitlines()
    starts = [line.split()[0] for line in lines if line.strip()]
    assert starts[1:5] == ["teacher", "student*", "majority", "probe"]
    student = next(line for line in lines if line.startswith("student*"))
    assert "88.0%" in student
    assert "[78.0%, 93.0%]" in student


def test_decision_report_and_retention_are_told() -> None:
    text = run_table(summary())
    for part in ("97.8%", "3.1x", "first", "no champion yet", "runs/tiny/report.html"):
        assert part in text


def test_columns_are_aligned_whatever_the_names() -> None:
    found = summary()
    long = {"fusion cross_attention": {"test": figures(0.7)}}
    found["metrics"]["baselines"] |= long
    lines = [line for line in run_table(found).splitlines() if " test " in line]
    assert len({line.index(" test ") for line in lines}) == 1


def test_no_champion_is_told_as_such() -> None:
    held = {"outcome": "held", "reason": "...", "candidate_version": "1", "champion_after": None}
    table = run_table(summary(decision=held))
    assert "version 1; there is no champion" in table
    assert "None" not in table


def test_what_a_students_search_keeps_is_told_where_it_has_one() -> None:
    assert "search" not in run_table(summary())
    changed = summary()
    changed["metrics"]["student"]["search"] = {"retention": 0.983, "speedup": 1.92}
    assert "98.3% of the teacher's recall@1 at 1.9x" in run_table(changed)


def test_slices_that_only_some_have_do_not_break_the_table() -> None:
    changed = summary()
    changed["metrics"]["teacher"]["field"] = figures(0.7)
    for who in ("student",):
        changed["metrics"][who]["field"] = figures(0.6)
    for found in changed["metrics"]["baselines"].values():
        found["field"] = figures(0.3)
    assert "field" in run_table(changed)


def test_a_run_without_a_student_has_none_in_the_table() -> None:
    changed = summary(served="teacher")
    del changed["metrics"]["student"]
    text = run_table(changed)
    assert "student" not in text
    assert "teacher*" in text
