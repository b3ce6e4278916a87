"""Labels that come later find their answers; the last one wins, the same again change nothing."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest
from click.testing import CliRunner

from regraft.cli.main import cli
from regraft.errors import UserError
from regraft.monitoring.feedback import Feedback, add_labels, read_labels
from regraft.monitoring.log_folder import log_folder
from regraft.monitoring.log_reading import read_log
from tests.monitoring.log_support import log, record


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The log of `plants`: nine answers, three of them in the tail; the last is to the same input
    as the first."""
    monkeypatch.setenv("REGRAFT_HOME", str(tmp_path))
    place = log_folder("plants")
    with log(place, segment_rows=3) as writer:
        writer.append([record(number) for number in range(3)])
        writer.append([record(number) for number in range(3, 6)])
    writer = log(place)
    writer.append([record(6), record(7), record(8, input_hash=record(0).input_hash)])
    return place


def truths(folder: Path) -> list[str | None]:
    found: list[str | None] = read_log(folder).rows["truth"].tolist()
    return found


def test_labels_by_id_in_segments_and_tail(folder: Path) -> None:
    table = pd.DataFrame({"id": [record(4).id, record(7).id], "label": ["rust", "healthy"]})
    assert add_labels(folder, table) == Feedback(2, 0, [], [])
    expected = [None, None, None, None, "rust", None, None, "healthy", None]
    assert truths(folder) == expected


def test_a_label_of_an_input_is_that_of_every_answer_to_it(folder: Path) -> None:
    add_labels(folder, [{"input_hash": record(0).input_hash, "label": "rust"}])
    assert truths(folder) == ["rust", *[None] * 7, "rust"]
    add_labels(folder, [{"id": record(8).id, "label": "healthy"}])  # later, and more exact
    assert truths(folder) == ["rust", *[None] * 7, "healthy"]


def test_the_last_label_wins_and_the_same_again_changes_nothing(folder: Path) -> None:
    rows = [{"id": record(1).id, "label": label} for label in ("rust", "healthy")]
    assert add_labels(folder, rows).added == 1
    add_labels(folder, [{"id": record(2).id, "label": "rust"}])
    before = (folder / "feedback.log").read_bytes()
    order = read_log(folder).rows["truth_order"].tolist()
    assert add_labels(folder, rows) == Feedback(0, 1, [], [])
    assert (folder / "feedback.log").read_bytes() == before
    assert truths(folder)[1:3] == ["healthy", "rust"]
    assert order[1] < order[2]
    add_labels(folder, [{"id": record(1).id, "label": "rust"}])
    assert truths(folder)[1:3] == ["rust", "rust"]
    after = read_log(folder).rows["truth_order"].tolist()
    assert after[2] == order[2] < after[1]


def test_unknown_ids_are_told_and_not_kept_and_new_classes_are(folder: Path) -> None:
    rows = [{"id": "nobody", "label": "rust"}, {"id": record(1).id, "label": "black spot"}]
    assert add_labels(folder, rows) == Feedback(1, 0, ["nobody"], ["black spot"])
    assert truths(folder)[1] == "black spot"
    assert b"nobody" not in (folder / "feedback.log").read_bytes()


@pytest.mark.parametrize(
    "row",
    [
        {"label": "rust"},
        {"id": "a"},
        {"id": "a", "label": " "},
        {"id": "a", "label": None},
        {"id": "a", "input_hash": "b", "label": "rust"},
        {"identity": "a", "label": "rust"},
    ],
)
def test_a_row_that_says_too_little_is_refused_and_nothing_is_kept(
    row: dict[str, str], folder: Path
) -> None:
    with pytest.raises(UserError, match="row 2"):
        add_labels(folder, [{"id": record(1).id, "label": "rust"}, row])
    assert truths(folder) == [None] * 9


def test_a_bit_that_flips_costs_one_label_and_is_counted(folder: Path) -> None:
    add_labels(folder, [{"id": record(n).id, "label": "rust"} for n in (1, 2, 3)])
    path = folder / "feedback.log"
    lines = path.read_bytes().splitlines(keepends=True)
    lines[1] = lines[1].replace(b"rust", b"rusu")
    path.write_bytes(b"".join(lines))
    assert truths(folder)[1:4] == ["rust", None, "rust"]
    assert read_log(folder).corrupt_lines == 1
    add_labels(folder, [{"id": record(2).id, "label": "rust"}])
    assert truths(folder)[1:4] == ["rust", "rust", "rust"]


def test_a_torn_label_of_a_killed_process_was_never_given(folder: Path) -> None:
    add_labels(folder, [{"id": record(1).id, "label": "rust"}])
    with (folder / "feedback.log").open("ab") as file:
        file.write(b'0f3a 2 {"id": "000')
    assert truths(folder)[1] == "rust"
    add_labels(folder, [{"id": record(2).id, "label": "rust"}])
    assert truths(folder)[1:3] == ["rust", "rust"]
    assert read_log(folder).corrupt_lines == 0


def test_tables_keep_every_value_as_text(tmp_path: Path) -> None:
    csv, lines = tmp_path / "a.csv", tmp_path / "b.jsonl"
    csv.write_text("id,label\n007,NA\n1e5,null\n")
    lines.write_text('{"id": "007", "label": "NA"}\n{"id": "1e5", "label": "null"}\n')
    for path in (csv, lines):
        assert read_labels(path)[0].to_dict("records") == [
            {"id": "007", "label": "NA"},
            {"id": "1e5", "label": "null"},
        ]
    for name, content in (("c.csv", ""), ("d.jsonl", "{"), ("e.txt", "id,label"),
                          ("f.csv", "id,truth\n1,a"), ("g.csv", "path,label\n1,a")):  # fmt: skip
        (tmp_path / name).write_text(content)
        with pytest.raises(UserError, match=name):
            read_labels(tmp_path / name)


def test_a_list_of_what_to_label_may_be_done_in_part(folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "to_label.csv"
    rows = f"{record(1).id},,rust,0.4,a.jpg\n{record(2).id},healthy,rust,0.5,b.jpg\n"
    path.write_text(f"id,label,predicted,confidence,path\n{rows}")
    result = CliRunner().invoke(cli, ["feedback", "plants", str(path)])
    assert "1 labels kept" in result.output
    assert "1 rows without a label left out" in result.output
    assert truths(folder)[1:3] == [None, "healthy"]


def test_the_command_line_tells_what_became_of_each(folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "labels.csv"
    path.write_text(f"id,label\n{record(1).id},mould\nnobody,rust\n")
    result = CliRunner().invoke(cli, ["feedback", "plants", str(path)])
    assert result.exit_code == 0, result.output
    assert "1 labels kept" in result.output
    assert "new classes, unknown to the model: mould" in result.output
    assert "nobody" in result.output
    one = ["feedback", "plants", "--id", record(3).id, "--label", "rust", "--json"]
    assert json.loads(CliRunner().invoke(cli, one).output)["added"] == 1
    assert truths(folder)[1:4] == ["mould", None, "rust"]


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["--id", "a"],
        ["--label", "rust"],
        ["labels.csv", "--id", "a", "--label", "rust"],
        ["--id", "nobody", "--label", "rust"],
        ["no_such_file.csv"],
    ],
)
def test_the_command_line_refuses_what_makes_no_sense(arguments: list[str], folder: Path) -> None:
    result = CliRunner().invoke(cli, ["feedback", "plants", *arguments])
    assert result.exit_code != 0
    assert isinstance(result.exception, UserError | SystemExit)
    assert truths(folder) == [None] * 9


def test_there_is_nothing_to_label_before_anything_was_served(folder: Path) -> None:
    with pytest.raises(UserError, match="no prediction log"):
        add_labels(folder.parent / "apples", [{"id": "a", "label": "b"}])
