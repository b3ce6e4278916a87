"""Work in progress is found again by its inputs, and gone when it is done."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from regraft.errors import UserError
from regraft.steps.workspace import digest, home, work_dir


@pytest.fixture(autouse=True)
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("REGRAFT_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def test_home_is_in_the_current_folder_by_default(monkeypatch: pytest.MonkeyPatch) -> None:
    for value in ("", None):
        if value is None:
            monkeypatch.delenv("REGRAFT_HOME")
        else:
            monkeypatch.setenv("REGRAFT_HOME", value)
        assert home() == Path(".regraft")


def test_both_words_for_home_mean_the_same_place() -> None:
    from regraft.registry import store

    assert home().resolve() == store.home()


def test_a_failed_step_finds_its_work_again(own_home: Path) -> None:
    with pytest.raises(ValueError, match="killed"), work_dir("finetune", seed=0) as folder:
        (folder / "checkpoint.pt").write_text("half")
        raise ValueError("killed")
    with work_dir("finetune", seed=0) as again:
        assert again == folder
        assert (again / "checkpoint.pt").read_text() == "half"


def test_a_finished_step_leaves_nothing(own_home: Path) -> None:
    with work_dir("finetune", seed=0) as folder:
        (folder / "checkpoint.pt").write_text("whole")
    assert [path.name for path in (own_home / "work").iterdir()] == [f"{folder.name}.lock"]
    with work_dir("finetune", seed=0) as again:
        assert list(again.iterdir()) == []


def test_what_a_kill_left_of_the_removal_is_removed(own_home: Path) -> None:
    with work_dir("finetune", seed=0) as folder:
        (folder.with_name(f"{folder.name}.done") / "trunk").mkdir(parents=True)
    assert [path.name for path in (own_home / "work").iterdir()] == [f"{folder.name}.lock"]


def test_other_inputs_are_other_work() -> None:
    with (
        work_dir("finetune", seed=0) as one,
        work_dir("finetune", seed=1) as two,
        work_dir("distill", seed=0) as three,
    ):
        assert len({one, two, three}) == 3


def test_the_same_work_is_done_by_one_at_a_time() -> None:
    order: list[str] = []

    def second() -> None:
        with work_dir("finetune", seed=0):
            order.append("second")

    with work_dir("finetune", seed=0):
        thread = threading.Thread(target=second)
        thread.start()
        thread.join(0.2)
        order.append("first")
    thread.join(10)
    assert order == ["first", "second"]


def test_a_home_that_cannot_be_written_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("REGRAFT_HOME", str(tmp_path / "file" / "home"))
    with pytest.raises(UserError, match="REGRAFT_HOME"), work_dir("finetune", seed=0):
        pass


def test_a_digest_follows_content_and_order(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    one.write_bytes(b"1")
    two.write_bytes(b"2")
    found = {digest(one), digest(two), digest(one, two), digest(two, one)}
    assert len(found) == 4
    assert digest(one) == digest(one)
