"""Verbs of the live side: one check, and a check again and again."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import click

from regraft.errors import UserError

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


@click.command()
@click.argument("recipe", type=click.Path(dir_okay=False))
@click.argument("overrides", nargs=-1, metavar="[KEY=VALUE]...")
@click.option(
    "--window",
    type=click.Path(),
    default="",
    help="Folder or CSV/JSONL table to compare instead of the prediction log; it decides alone.",
)
@click.option("--since", default="", help="Look at the log from this ISO time on, seen or not.")
@click.option("--no-retrain", is_flag=True, help="Only report.")
@click.option(
    "--out", type=click.Path(file_okay=False), help="Folder of it; default runs/NAME-monitor."
)
@click.option("--json", "as_json", is_flag=True, help="Print summary.json instead of a table.")
def monitor(
    recipe: str,
    overrides: tuple[str, ...],
    window: str,
    since: str,
    no_retrain: bool,
    out: str | None,
    as_json: bool,
) -> None:
    """Compare what the champion of RECIPE answered with what it learned from; retrain on drift.

    The new candidate has learned old and new data and becomes champion only if the gate finds it
    better. The same command continues a retraining that failed or was interrupted; where another
    check of this model runs it does nothing.
    """
    summary = _check(recipe, overrides, window, since, no_retrain, out)
    if as_json:
        click.echo(json.dumps(summary, indent=2))
    else:
        click.echo(monitoring_table(summary))


@click.command()
@click.argument("recipe", type=click.Path(dir_okay=False))
@click.argument("overrides", nargs=-1, metavar="[KEY=VALUE]...")
@click.option("--every", default="1h", show_default=True, help="Pause, e.g. 30s, 10m, 6h, 1d.")
@click.option("--no-retrain", is_flag=True, help="Only report.")
@click.option("--out", type=click.Path(file_okay=False), help="As for monitor.")
def watch(
    recipe: str, overrides: tuple[str, ...], every: str, no_retrain: bool, out: str | None
) -> None:
    """Run `regraft monitor RECIPE` again and again in the foreground, until SIGTERM or Ctrl-C.

    Each check is a process of its own. One that fails is reported, and the next one is made all
    the same. On SIGTERM the running check is ended; the next start continues it.
    """
    from regraft.recipe import load_recipe

    seconds = pause_seconds(every)
    load_recipe(recipe, list(overrides))
    from pipelines.watching import watch_forever

    arguments = [recipe, *overrides, *(["--no-retrain"] if no_retrain else [])]
    watch_forever([*arguments, *(["--out", out] if out else [])], seconds)


def pause_seconds(text: str) -> int:
    """`90s`, `10m`, `6h` or `1d` in seconds. Raises UserError for anything else."""
    found = re.fullmatch(r"([1-9]\d*)([smhd])", text.strip())
    if not found:
        raise UserError(
            "the pause between two checks is not understood",
            where="--every",
            got=text,
            expected="a number and a unit: 30s, 10m, 6h, 1d",
        )
    return int(found[1]) * _UNITS[found[2]]


def _check(
    recipe: str,
    overrides: tuple[str, ...],
    window: str,
    since: str,
    no_retrain: bool,
    out: str | None,
) -> dict[str, Any]:
    from regraft.recipe import load_recipe

    checked = load_recipe(recipe, list(overrides))
    if window and since:
        raise UserError(
            "a window of files and a time in the log exclude each other",
            got=f"--window {window} --since {since}",
            expected="one of them, or neither: then what is new in the log",
        )
    from pipelines.local_monitoring import run_monitoring

    folder = Path(out or f"runs/{checked.name}-monitor")
    return run_monitoring(checked, folder, window=window, since=since, retrain=not no_retrain)


def monitoring_table(summary: dict[str, Any]) -> str:
    """What a person wants to know of one check."""
    lines = [f"drift      {'yes' if summary['drifted'] else 'no'}: {summary['reason']}"]
    if summary["drifted"]:
        lines.append(f"new        {summary['new_examples']} examples, {summary['labels']} labelled")
    if decision := summary["decision"]:
        lines.append(f"retrained  version {decision['candidate_version']}: {decision['outcome']}")
        lines.append(f"           {decision['reason']}")
    elif summary["drifted"]:
        lines.append(f"retrained  no: {summary['why_not']}")
    lines += [f"{name:<10} {path}" for name, path in summary["reports"].items()]
    return "\n".join(lines)
