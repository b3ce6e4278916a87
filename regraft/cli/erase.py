"""`regraft erase`: answers that must not be kept."""

from __future__ import annotations

import hashlib
from pathlib import Path

import click

from regraft.errors import UserError


@click.command()
@click.argument("name")
@click.option("--id", "ids", multiple=True, help="An answer, by the id that the client got.")
@click.option(
    "--input",
    "inputs",
    multiple=True,
    type=click.Path(exists=True, dir_okay=False),
    help="A file: every answer to these very bytes.",
)
@click.option("--input-hash", "hashes", multiple=True, help="The same, by SHA-256 in hex.")
def erase(
    name: str, ids: tuple[str, ...], inputs: tuple[str, ...], hashes: tuple[str, ...]
) -> None:
    """Remove answers of NAME from the prediction log, with their labels and kept inputs.

    Models, reports, and data that a retraining has copied already are not touched.
    """
    if not (ids or inputs or hashes):
        raise click.UsageError("name answers by --id, --input or --input-hash")
    from regraft.monitoring.erasing import erase as remove
    from regraft.monitoring.log_folder import log_folder

    digests = [hashlib.sha256(Path(path).read_bytes()).hexdigest() for path in inputs]
    count = remove(log_folder(name), ids=ids, input_hashes=[*hashes, *digests])
    if not count:
        raise UserError("the log has no such answer", where=str(log_folder(name)))
    click.echo(f"{count} answers erased")
