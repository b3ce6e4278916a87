"""`regraft sign`, as a user calls it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from regraft.cli.main import main
from tests.tasks.test_sign_sentence import lexicon_folder


def test_words_become_a_page_a_gif_and_a_motion(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    signs = lexicon_folder(tmp_path / "signs")
    files = {name: tmp_path / f"a.{name}" for name in ("html", "pose", "gif")}
    arguments = ["regraft", "sign", "1 ab", "--signs", str(signs), "--json"]
    arguments += ["--out", str(files["html"]), "--pose", str(files["pose"])]
    monkeypatch.setattr("sys.argv", [*arguments, "--gif", str(files["gif"])])
    main()
    found = json.loads(capsys.readouterr().out)
    assert [p["text"] for p in found["parts"] if p["how"] != "transition"] == ["1", "a", "b"]
    assert all(file.stat().st_size > 1_000 for file in files.values())


@pytest.mark.parametrize("given", [[], ["--signs", ".", "--model", "speech_to_sign"]])
def test_signs_come_from_one_place(
    given: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["regraft", "sign", "1", *given])
    with pytest.raises(SystemExit) as stopped:
        main()
    assert stopped.value.code == 2
    assert "from a folder or from a model" in capsys.readouterr().err


def test_words_that_nobody_can_sign_are_the_users_mistake(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    signs, page = lexicon_folder(tmp_path / "signs"), tmp_path / "a.html"
    arguments = ["regraft", "sign", "zebra", "--signs", str(signs), "--out", str(page)]
    monkeypatch.setattr("sys.argv", arguments)
    with pytest.raises(SystemExit) as stopped:
        main()
    assert stopped.value.code == 2
    assert "none of the words can be signed" in capsys.readouterr().err
    assert not page.exists()
