"""`regraft bench serve`."""

from __future__ import annotations

import json
from pathlib import Path

import click


@click.command()
@click.argument("name")
@click.option("--clients", default=8, show_default=True, type=click.IntRange(2, 64))
@click.option(
    "--seconds",
    default=5.0,
    show_default=True,
    type=click.FloatRange(0.2, 600),
    help="Time of each measurement; there are two for each server.",
)
@click.option(
    "--inputs", type=click.Path(file_okay=False, exists=True), help="Folder of JPEG files to send."
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of lines.")
def serve(name: str, clients: int, seconds: float, inputs: str | None, as_json: bool) -> None:
    """Compare regraft serve with a plain FastAPI handler and mlflow models serve.

    All three answer with the champion of NAME (or NAME@alias, NAME/version) on this machine, asked
    over loopback by one client and by several, each of which waits for its answer before it asks
    again. Prints requests per second and latencies in milliseconds.
    """
    from regraft.bench.serving.compare import compare

    found = compare(name, clients=clients, seconds=seconds, inputs=Path(inputs) if inputs else None)
    if as_json:
        click.echo(json.dumps(found, indent=2))
        return
    from regraft.cli.tables import serving_table

    click.echo(serving_table(found))
