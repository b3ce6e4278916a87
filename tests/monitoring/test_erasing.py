"""What is erased is in no file any more, and everything else is as before."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from click.testing import CliRunner

from regraft.cli.main import cli
from regraft.errors import UserError
from regraft.monitoring.erasing import erase
from regraft.monitoring.feedback import add_labels
from regraft.monitoring.log_folder import log_folder
from regraft.monitoring.log_reading import read_log
from regraft.monitoring.prediction_log import PredictionLog
from tests.monitoring.log_support import log, record


def photo(number: int) -> bytes:
    return b"\xff\xd8\xff" + bytes([number]) * 100


@pytest.fixture
def writer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> PredictionLog:
    """Of eight answers, 2 and 6 are to one photo; the server still runs."""
    monkeypatch.setenv("REGRAFT_HOME", str(tmp_path))
    own = log(log_folder("plants"), segment_rows=3, keep_inputs=True)
    for number in range(8):
        content = photo(2 if number == 6 else number)
        digest = hashlib.sha256(content).hexdigest()
        own.append([record(number, input_hash=digest)], [content])
    labels = [{"id": record(number).id, "label": f"label {number}"} for number in range(8)]
    add_labels(own.folder, labels)
    return own


def left(folder: Path) -> list[int]:
    return [int(one, 16) for one in read_log(folder).rows["id"]]


def content_of(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file())


def test_an_answer_by_its_id(writer: PredictionLog) -> None:
    folder = writer.folder
    before = read_log(folder)
    kept = Path(before.rows["input_path"][1])
    assert erase(folder, ids=[record(1).id]) == 1
    found = read_log(folder)
    assert left(folder) == [0, 2, 3, 4, 5, 6, 7]
    expected = before.rows.drop(index=1).reset_index(drop=True)
    assert found.rows[expected.columns].equals(expected)
    assert found.embeddings[:, 0].tolist() == [0, 2, 3, 4, 5, 6, 7]
    assert not kept.exists()
    assert b"label 1" not in (folder / "feedback.log").read_bytes()
    assert photo(1) not in content_of(folder)
    writer.append([record(100)])
    writer.close()
    assert left(folder) == [0, 2, 3, 4, 5, 6, 7, 100]
    assert read_log(folder).rows["sequence"].tolist()[-1] == 9


def test_a_photo_stays_while_another_answer_names_it(writer: PredictionLog) -> None:
    kept = Path(read_log(writer.folder).rows["input_path"][2])
    assert erase(writer.folder, ids=[record(2).id]) == 1
    assert kept.is_file()
    assert erase(writer.folder, ids=[record(6).id]) == 1
    assert not kept.exists()


def test_every_answer_to_an_input(writer: PredictionLog, tmp_path: Path) -> None:
    file = tmp_path / "mine.jpg"
    file.write_bytes(photo(2))
    call = ["erase", "plants", "--input", str(file)]
    result = CliRunner().invoke(cli, call)
    assert "2 answers erased" in result.output
    assert left(writer.folder) == [0, 1, 3, 4, 5, 7]
    again = CliRunner().invoke(cli, call)
    assert isinstance(again.exception, UserError)
    assert CliRunner().invoke(cli, ["erase", "plants"]).exit_code == 2


def test_damaged_files_are_not_passed_over(writer: PredictionLog) -> None:
    writer.close()
    path = sorted(writer.folder.glob("segment-*"))[0]
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(UserError, match="may still hold"):
        erase(writer.folder, ids=[record(7).id])
    assert left(writer.folder) == [3, 4, 5, 6]
