"""`regraft feedback`: labels that come later."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from regraft.errors import UserError

if TYPE_CHECKING:
    from regraft.monitoring.feedback import Feedback

_SHOWN = 10


@click.command()
@click.argument("name")
@click.argument("file", required=False, type=click.Path(dir_okay=False))
@click.option("--id", "identity", help="One answer, by the id that the client got.")
@click.option("--label", help="What the answer with this --id should have been.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of lines.")
def feedback(
    name: str, file: str | None, identity: str | None, label: str | None, as_json: bool
) -> None:
    """Tell what answers of NAME should have been.

    FILE is a CSV or JSONL table with the columns label and id (of an answer) or input_hash (SHA-256
    of an input's bytes, for all answers to it). Instead of it, --id and --label for one. The same
    labels again change nothing; of several for one answer the last counts. A label that the model
    does not know is kept as a new class.
    """
    if (file is None) == (identity is None) or (identity is None) != (label is None):
        raise click.UsageError("give either FILE, or --id and --label")
    from regraft.monitoring.feedback import add_labels, read_labels
    from regraft.monitoring.log_folder import log_folder

    table: Any = [{"id": identity, "label": label}]
    left_out = 0
    if file:
        table, left_out = read_labels(Path(file))
    try:
        found = add_labels(log_folder(name), table)
    except OSError as error:
        raise UserError(
            "the labels could not be written, and none was kept",
            where=str(log_folder(name)),
            got=error.strerror or str(error),
            fix="make room on the disk or mend the permissions, then give them again",
        ) from error
    if as_json:
        click.echo(json.dumps(asdict(found) | {"without_label": left_out}, indent=2))
    else:
        click.echo(_lines(found, left_out))
    if found.unknown and not found.added and not found.unchanged:
        raise UserError(
            "none of the labels belongs to an answer in the log",
            where=str(log_folder(name)),
            got=_few(found.unknown),
            expected="ids of answers, or hashes of inputs, that the log still holds",
        )


def _lines(found: Feedback, left_out: int) -> str:
    lines = [f"{found.added} labels kept, {found.unchanged} were known already"]
    if left_out:
        lines.append(f"{left_out} rows without a label left out")
    if found.new_classes:
        lines.append(f"new classes, unknown to the model: {_few(found.new_classes)}")
    if found.unknown:
        lines.append(f"{len(found.unknown)} not kept, the log has no such answer: ")
        lines[-1] += _few(found.unknown)
    return "\n".join(lines)


def _few(names: list[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more
