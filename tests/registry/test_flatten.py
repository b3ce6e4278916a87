from __future__ import annotations

from regraft.registry import flatten


def test_names_that_mlflow_refuses_stay_apart() -> None:
    found = flatten.metrics({"class": {"Rost (jung)": 0.1, "Rost [jung]": 0.2, "../x": 0.3}})

    assert len(found) == 3
    assert all("(" not in name and ".." not in name for name in found)


def test_text_none_and_long_lists_are_no_metrics() -> None:
    assert flatten.metrics({"a": "text", "b": None, "c": [1, 2, 3], "d": True}) == {"d": 1.0}


def test_long_parameter_is_cut_and_says_so() -> None:
    value = flatten.parameters({"classes": ["x" * 50] * 500})["classes"]

    assert len(value) == flatten.MAX_PARAMETER
    assert "characters, sha256" in value


def test_empty_mapping_is_a_parameter() -> None:
    assert flatten.parameters({"a": {"b": {}}}) == {"a.b": "{}"}
