"""Who is champion: `regraft history`, `promote`, `rollback` and `pin`."""

from __future__ import annotations

import json
from functools import partial
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from collections.abc import Sequence

    from regraft.registry.ledger import Entry

as_json_option = click.option(
    "--json", "as_json", is_flag=True, help="Print JSON instead of lines."
)
_SHORT = 10


@click.command()
@click.argument("name")
@as_json_option
def history(name: str, as_json: bool) -> None:
    """Show every decision about NAME, oldest first: who was champion when, why, on which data."""
    from regraft.registry.champions import history as decisions

    entries = decisions(name)
    if as_json:
        click.echo(json.dumps([entry.as_dict() for entry in entries], indent=2))
        return
    click.echo(history_table(entries))


@click.command()
@click.argument("name")
@click.argument("version")
@click.option("--reason", required=True, help="Why, for the ledger.")
@click.option(
    "--seconds",
    default=300.0,
    show_default=True,
    type=click.FloatRange(min=0, min_open=True),
    help="How long the version may take to answer in a fresh process.",
)
@as_json_option
def promote(name: str, version: str, reason: str, seconds: float, as_json: bool) -> None:
    """Make VERSION of NAME champion by hand, past the gate.

    The version must first load and answer its own example in a fresh process. A pin stays in force.
    """
    from regraft.registry.champions import promote as move
    from regraft.registry.fresh_process import verify

    check = partial(verify, timeout_seconds=seconds)
    _tell(move(name, version, reason=reason, verify=check), as_json)


@click.command()
@click.argument("name")
@click.option("--to", metavar="VERSION", help="Which version; default: the champion before.")
@click.option("--reason", default="", help="Why, for the ledger.")
@as_json_option
def rollback(name: str, to: str | None, reason: str, as_json: bool) -> None:
    """Make the champion before the present one champion of NAME again.

    Its stored files answer again, bit for bit. Repeated, it goes further back.
    """
    from regraft.registry.champions import rollback as back

    _tell(back(name, to, reason=reason), as_json)


@click.command()
@click.argument("name")
@click.option("--reason", default="", help="Why, for the ledger.")
@click.option("--release", is_flag=True, help="Let the gate replace the champion again.")
@as_json_option
def pin(name: str, reason: str, release: bool, as_json: bool) -> None:
    """Keep the champion of NAME: the gate holds every candidate back until the release.

    People may still promote and roll back by hand.
    """
    from regraft.registry import pins

    _tell((pins.release if release else pins.pin)(name, reason=reason), as_json)


def history_table(entries: Sequence[Entry]) -> str:
    """One line per entry, then who is champion now."""
    from regraft.registry.ledger import pin_in_force

    heads = ("when (UTC)", "outcome", "version", "champion", "data", "code", "by", "why")
    rows = [heads, *(_row(entry) for entry in entries)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(heads) - 1)]
    lines = [
        "  ".join(
            [*(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=False)), row[-1]]
        )
        for row in rows
    ]
    champion, pin = entries[-1].champion_after, pin_in_force(entries)
    told = f"champion: version {champion}" if champion else "no champion"
    return "\n".join([*lines, "", told + (f", pinned: {pin.reason}" if pin else "")])


def _row(entry: Entry) -> tuple[str, ...]:
    from regraft.registry.ledger import INTENDED, SUPERSEDED

    marks = {INTENDED: " (unfinished)", SUPERSEDED: " (void)"}
    before, after = entry.champion_version or "-", entry.champion_after or "-"
    return (
        entry.time[:19].replace("T", " "),
        entry.outcome + marks.get(entry.state, ""),
        entry.candidate_version,
        f"{before} -> {after}" if before != after else before,
        entry.data_version.removeprefix("sha256:")[:_SHORT] or "-",
        entry.code_version[:_SHORT] or "-",
        entry.triggered_by,
        " ".join(entry.reason.split()),
    )


def _tell(entry: Entry, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(entry.as_dict(), indent=2))
        return
    now = f"version {entry.champion_after} is champion of {entry.model}"
    told: dict[str, Any] = {"pin": f"pinned: {now}", "release": f"released: {now}"}
    click.echo(told.get(entry.outcome, f"{entry.outcome}: {now}, it was {entry.champion_version}"))
