"""`regraft chat` with a pipe: one line a question, one reply each."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from regraft.cli import main as command_line
from regraft.errors import UserError
from regraft.tasks.assistant.assistant import Assistant
from tests.tasks.assistant.support import fitted
from tests.tasks.assistant.test_generation import tiny

ASSISTANT = fitted()


@pytest.fixture
def talk(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    """Ask these lines; returns (exit code, stdout, stderr). The registry is what is left out."""
    asked_for: list[tuple[str, str]] = []

    def assistant_of(name: str, *, language_model: str = "") -> Assistant:
        asked_for.append((name, language_model))
        return ASSISTANT

    monkeypatch.setattr("regraft.serving.predict.assistant_of", assistant_of)

    def call(text: str, *options: str, verb: str = "chat") -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["regraft", verb, "medical_assistant", *options])
        monkeypatch.setattr(sys, "stdin", io.StringIO(text))
        code: Any = 0
        try:
            command_line.main()
        except SystemExit as end:
            code = end.code
        shown = capsys.readouterr()
        return int(code or 0), shown.out, shown.err

    call.asked_for = asked_for  # type: ignore[attr-defined]
    return call


def test_a_dialogue_as_text(talk: Any) -> None:
    code, out, err = talk("What is gout?\n\nand how is it treated?\n")
    assert (code, err) == (0, "")
    assert out.count("[1] gout - NHS page: gout") == 2
    assert ">" not in out  # no prompt without a terminal


def test_a_dialogue_as_json_lines_remembers_until_it_is_told_to_forget(talk: Any) -> None:
    script = "What is gout?\nhow is it treated?\n/new\nhow is it treated?\n/end\nnever asked\n"
    code, out, _ = talk(script, "--json", "--language-model", "")
    assert code == 0
    found = [json.loads(line) for line in out.splitlines()]
    assert [one["decision"] for one in found] == ["answer", "answer", "ask_back"]
    assert found[1]["question"] == "how is gout treated"
    assert found[0]["citations"][0]["source"] == "NHS page: gout"
    assert talk.asked_for == [("medical_assistant", "")]


def test_a_question_that_is_refused_does_not_end_the_dialogue_but_is_told(talk: Any) -> None:
    script = "What is gout?\n" + "a" * 100_000 + "\nhow is it treated?\n"
    code, out, err = talk(script)
    assert code == 2
    assert "too long" in err
    assert out.count("[1] gout") == 2
    code, out, _ = talk(script, "--json")
    assert code == 2
    assert "too long" in json.loads(out.splitlines()[1])["error"]


def test_a_language_model_is_tuned_on_questions_of_a_file(talk: Any, tmp_path: Path) -> None:
    base, out, file = tmp_path / "base", tmp_path / "out", tmp_path / "questions.txt"
    language = tiny(["Gout is a fish ."])
    language.model.config.max_position_embeddings = 2000
    language.save(base)
    options = ("--language-model", str(base), "--questions", str(file), "--out", str(out))
    file.write_text("\n")
    code, _, err = talk("", *options, verb="tune-language-model")
    assert (code, "nothing to learn" in err) == (2, True)
    file.write_text("What is gout?\n\nWhat is asthma?\n")
    code, text, _ = talk("", *options, "--epochs", "2", verb="tune-language-model")
    assert code == 0
    assert "learned 2 questions" in text
    assert (out / "adapter_model.safetensors").is_file()


def test_a_model_that_cannot_be_talked_to_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    from regraft.serving import predict

    monkeypatch.setattr(predict, "_loaded", lambda reference: object())
    with pytest.raises(UserError, match="cannot be talked to"):
        predict.assistant_of("plants")
    talking = type("Talking", (), {"assistant": ASSISTANT})()
    monkeypatch.setattr(predict, "_loaded", lambda reference: talking)
    assert predict.assistant_of("plants") is ASSISTANT
    with pytest.raises(UserError, match="language model cannot be loaded"):
        predict.assistant_of("plants", language_model="/no/such/folder")
