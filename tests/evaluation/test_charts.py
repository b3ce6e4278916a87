import pytest

from regraft.evaluation import charts
from regraft.evaluation.charts import style
from regraft.evaluation.formats import block_list, duration, number, share, span


def test_labels_stay_short_and_distinct() -> None:
    names = [f"Tomato___a_very_long_name_{'x' * 40}_{k % 3}_end" for k in range(9)]
    labels = style.short_labels(names, 20)
    assert len(set(labels)) == 9
    assert max(map(len, labels)) <= 21


def test_a_chart_follows_the_theme_and_keeps_its_ids_apart() -> None:
    markup = charts.risk_coverage(
        [{"coverage": 0.5, "accuracy": 1.0}, {"coverage": 1.0, "accuracy": 0.9}], name="one"
    )
    assert markup.startswith('<svg class="chart" role="img"')
    assert "var(--blue, #0072b2)" in markup
    assert "<text" in markup and "xmlns" not in markup
    assert all(part.startswith("one-") for part in _after(markup, ' id="'))


def test_the_smaller_of_svg_and_png_is_taken() -> None:
    points = [[k / 7.0, (k * k % 977) / 3.0] for k in range(500)]
    comparison = {
        "reference": "a",
        "current": "b",
        "overlay": {"reference": points, "current": points},
    }
    assert len(charts.shift_overlay(comparison, "s")) < 260_000


def test_many_classes_show_the_most_confused() -> None:
    counts = [[5 if row == column else 0 for column in range(60)] for row in range(60)]
    counts[59][0] = 3
    markup, left_out = charts.confusion_matrix(counts, [f"class {k}" for k in range(60)])
    assert left_out == 20
    assert "class 59" in markup


@pytest.mark.parametrize("epochs", [[], [{"epoch": 1, "train_loss": float("nan")}]])
def test_learning_curves_without_values_do_not_fail(epochs: list[dict[str, float]]) -> None:
    history = {"stages": [{"name": "probe", "epochs": epochs}], "chosen": {}}
    assert "<svg" in charts.learning_curves(history, "x")


def test_formats() -> None:
    assert (share(0.984), share(None), share(float("nan"))) == ("98.4%", "–", "–")
    assert (span([0.9, 1.0]), span(None)) == ("90.0 – 100.0", "")
    assert (duration(5), duration(75.2), duration(3725)) == ("5.0 s", "1 min 15 s", "1 h 02 min")
    assert (number(2_234_120), number(0.12345), number(1e-7)) == ("2,234,120", "0.123", "1.0e-07")
    assert block_list(["blocks.4", "blocks.5", "blocks.6", "head"]) == "4–6, head"
    assert block_list(None) == "–"


def _after(text: str, mark: str) -> list[str]:
    return [part.split('"', 1)[0] for part in text.split(mark)[1:]]
