import json
import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from regraft.errors import UserError
from regraft.evaluation.content import assemble, result_rows, with_outcome
from regraft.evaluation.examples import show_examples, thumbnail
from regraft.evaluation.model_card import write_model_card
from regraft.evaluation.report import SECTIONS, write_report

HOSTILE = ['<script>alert("x")</script>', "a|b`c`<i>", "$\\frac{", "日本 ?\n\x07"]


class Page(HTMLParser):
    """Collects what a test wants to know about a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.resources: list[str] = []
        self.links: list[str] = []
        self.tags: list[str] = []
        self.pictures_without_text = 0
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        known = dict(attrs)
        self.tags.append(tag)
        if known.get("id"):
            self.ids.append(str(known["id"]))
        (self.links if tag in ("a", "use") else self.resources).extend(
            str(known[name]) for name in ("src", "href", "data", "srcset") if known.get(name)
        )
        if tag == "img" and not known.get("alt"):
            self.pictures_without_text += 1
        if tag == "svg" and not known.get("aria-label"):
            self.pictures_without_text += 1


def minimal_content(classes: list[str], show: Any = None, **more: Any) -> dict[str, Any]:
    labels = [0, 1, 1]
    probabilities = np.full((3, len(classes)), 0.1 / (len(classes) - 1))
    probabilities[:, 0] = 0.9
    frame = pd.DataFrame(
        {
            "id": [f"{classes[k]}/{number}.jpg" for number, k in enumerate(labels)],
            "label": [classes[k] for k in labels],
            "predicted": classes[0],
            "confidence": 0.9,
        }
    )
    metrics = {"teacher": {"test": {"accuracy": 1 / 3, "macro_f1": 0.25}}}
    return assemble(
        recipe="tiny",
        served="teacher",
        classes=classes,
        predictions=frame,
        probabilities=probabilities,
        metrics=metrics,
        show=show or (lambda name: {"text": f"example {name}"}),
        **more,
    )


def test_full_report_is_complete_and_self_contained(
    make_content: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    write_report(tmp_path / "deep" / "report.html", make_content())
    text = (tmp_path / "deep" / "report.html").read_text(encoding="utf-8")
    page = Page(text)

    assert set(SECTIONS) <= set(page.ids)
    assert "http://" not in text and "https://" not in text and 'src="/' not in text
    assert all(resource.startswith("data:image/") for resource in page.resources)
    assert not {"script", "link", "iframe", "object"} & set(page.tags)
    assert all(link.startswith("#") and link[1:] in page.ids for link in page.links)
    assert len(page.ids) == len(set(page.ids))
    assert page.pictures_without_text == 0
    assert page.tags.count("h1") == 1
    assert len(re.findall(r"<th(?!ead)", text)) == text.count("<th scope=")
    assert text.count("How to read it") == text.count("If it looks bad") == len(SECTIONS)
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["report.html"]


def test_report_of_40_classes_stays_small(
    make_content: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    classes = [f"a rather long name of plant disease number {k}" for k in range(40)]
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 255, (400, 400, 3), "uint8"))
    content = make_content(classes=classes, count=800)
    content["mistakes"]["examples"] = [
        {**example, "thumbnail": thumbnail(noise)} for example in content["mistakes"]["examples"]
    ]
    write_report(tmp_path / "report.html", content)
    assert (tmp_path / "report.html").stat().st_size < 3_000_000


def test_minimal_report_leaves_out_what_is_missing(tmp_path: Path) -> None:
    content = minimal_content(["a", "b"], missing={"learning curves": "nothing was trained"})
    write_report(tmp_path / "report.html", content)
    write_model_card(tmp_path / "card.md", content)
    page = Page((tmp_path / "report.html").read_text(encoding="utf-8"))
    present = {"results", "confusion", "reliability", "slices", "mistakes"}
    assert {name for name in SECTIONS if name in page.ids} == present
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "learning curves (nothing was trained)" in text
    assert "gate: not decided yet" in text


def test_backbones_that_nothing_could_be_held_out_for(
    make_content: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    content = make_content()
    unknown = {"probe_accuracy": None, "probe_low": None, "probe_high": None}
    some = [content["ranking"][0] | unknown, *content["ranking"][1:]]
    for ranking, drawn in ((some, True), ([row | unknown for row in some], False)):
        write_report(tmp_path / "report.html", content | {"ranking": ranking})
        page = (tmp_path / "report.html").read_text(encoding="utf-8")
        assert '<th scope="row">starter' in page
        assert ("Probe accuracy of" in page) == drawn == ("too few groups" not in page)


def test_hostile_names_are_shown_not_run(tmp_path: Path) -> None:
    shown = {"text": '<img src="/x" onerror="alert(1)">'}
    content = minimal_content(HOSTILE, show=lambda name: shown, missing={HOSTILE[0]: HOSTILE[1]})
    write_report(tmp_path / "report.html", content)
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    page = Page(text)
    assert "script" not in page.tags and "i" not in page.tags and "img" not in page.tags
    assert "&lt;script&gt;" in text and "&lt;img src=" in text
    assert "$\\frac{" in text, "names are text, not mathematics"

    write_model_card(tmp_path / "card.md", content)
    card = (tmp_path / "card.md").read_text(encoding="utf-8")
    assert "<" not in card
    assert "a\\|b\\`c\\`&lt;i&gt;" in card


def test_examples_may_bring_their_own_markup(tmp_path: Path) -> None:
    clip = '<video controls src="data:video/mp4;base64,AAAA"></video>'
    content = minimal_content(["a", "b"], show=lambda name: {"html": clip})
    write_report(tmp_path / "report.html", content)
    assert clip in (tmp_path / "report.html").read_text(encoding="utf-8")


def test_the_weakness_is_named(make_content: Callable[..., dict[str, Any]]) -> None:
    content = make_content()
    found = " ".join(item["what"] for item in content["attention"])
    assert "Tomato___Early_blight" in found and "Tomato___Late_blight" in found
    assert {item["section"] for item in content["attention"]} <= set(SECTIONS)


def test_the_worst_mistakes_come_first(make_content: Callable[..., dict[str, Any]]) -> None:
    examples = make_content()["mistakes"]["examples"]
    confidences = [example["confidence"] for example in examples]
    assert confidences == sorted(confidences, reverse=True)
    assert all(example["true"] != example["predicted"] for example in examples)
    assert all(example["true_probability"] < example["confidence"] for example in examples)


def test_an_image_that_is_gone_is_told(tmp_path: Path) -> None:
    show = show_examples(lambda name: Image.open(tmp_path / name))
    assert "cannot be opened" in show("gone.jpg")["text"]


def test_thumbnails_are_small_whatever_the_mode() -> None:
    for mode in ("RGB", "CMYK", "P", "I;16", "L", "RGBA"):
        uri = thumbnail(Image.new(mode, (900, 300)))
        assert uri.startswith("data:image/jpeg;base64,") and len(uri) < 20_000


def test_refuses_to_report_on_nothing(make_content: Callable[..., dict[str, Any]]) -> None:
    nothing = pd.DataFrame({"id": [], "label": [], "predicted": [], "confidence": []})
    with pytest.raises(UserError, match="at least one"):
        assemble(recipe="r", served="teacher", classes=["a"], predictions=nothing,
                 probabilities=np.zeros((0, 1)), metrics={}, show=lambda name: {})  # fmt: skip


def test_the_served_model_must_have_been_scored() -> None:
    with pytest.raises(UserError, match="served model"):
        content = minimal_content(["a", "b"])
        assemble(recipe="r", served="student", classes=["a", "b"],
                 predictions=pd.DataFrame({"id": ["1"], "label": ["a"], "predicted": ["a"],
                                           "confidence": [0.9]}),
                 probabilities=[[0.9, 0.1]], show=lambda name: {},
                 metrics={"teacher": {"test": content["results"]["rows"][0]}})  # fmt: skip


def test_model_card_names_figures_and_slices(
    make_content: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    write_model_card(tmp_path / "card.md", make_content())
    card = (tmp_path / "card.md").read_text(encoding="utf-8")
    for heading in ("Intended use", "Data", "Training", "Results", "Limitations", "reproduce"):
        assert heading in card
    assert "(served)" in card and "| domain | field |" in card and "regraft run" in card


def test_the_outcome_is_told_after_the_gate(
    make_content: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    before = json.loads(json.dumps({**make_content(), "decision": None, "cost": None}))
    decision: dict[str, Any] = {
        "outcome": "hold", "reason": "worse than the champion", "interval": [-0.1, -0.02]
    }  # fmt: skip
    steps = [{"name": "evaluation", "seconds": 2.0, "cpu_seconds": 3.0, "status": "done"}]
    decision["checks"] = [
        {"name": "gain", "passed": False, "value": -0.1, "limit": 0, "words": "worse & slower"},
        {"name": "slices", "passed": None, "value": None, "limit": 10, "words": "no slice"},
    ]
    after = with_outcome(before, decision, steps)
    assert after["verdict"].endswith("It does not replace the champion: worse than the champion.")
    assert after["cost"]["seconds"] == 2.0
    write_report(tmp_path / "report.html", after)
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "gate: held back" in page
    assert "<td>broken</td><td>worse &amp; slower</td>" in page
    assert "<td>not judged</td><td>no slice</td>" in page


def test_two_names_of_one_split_make_one_row() -> None:
    whole = {"accuracy": 0.8, "macro_f1": 0.7, "count": 20}
    lab, field = {**whole, "accuracy": 0.9}, {**whole, "accuracy": 0.6}
    teacher = {"test": whole, "source": lab, "lab": lab, "target": field, "field": field,
               "cost": {"latency_ms": 3.0}, "retention": 0.99}  # fmt: skip
    rows = result_rows({"teacher": teacher, "baselines": {"probe": whole}}, "teacher")
    assert [(row["name"], row["split"]) for row in rows] == [
        ("teacher", "test"),
        ("probe on frozen features", "test"),
        ("teacher", "field"),
        ("teacher", "lab"),
    ]
    assert [row["served"] for row in rows] == [True, False, False, False]
    alone = result_rows({"teacher": {"test": whole, "source": whole, "lab": whole}}, "teacher")
    assert [row["split"] for row in alone] == ["test"]
