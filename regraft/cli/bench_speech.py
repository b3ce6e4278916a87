"""`regraft bench speech-to-sign`: spoken words of new speakers, and the signs made of them."""

from __future__ import annotations

import json
from pathlib import Path

import click


@click.command("speech-to-sign")
@click.option(
    "--data",
    type=click.Path(file_okay=False),
    help="Folder with speech/index.jsonl and sign/index.jsonl; default $REGRAFT_DATA/speech_sign.",
)
@click.option(
    "--encoder",
    default="speech_embedding",
    show_default=True,
    help="speech_embedding, or the folder or hub name of a transformers model of speech.",
)
@click.option(
    "--weights",
    type=click.Path(dir_okay=False),
    help="Weights of speech_embedding; default those in $REGRAFT_DATA/weights.",
)
@click.option(
    "--seeds",
    default=3,
    show_default=True,
    type=click.IntRange(1),
    help="How often a cell is measured; every seed draws other examples.",
)
@click.option("--cells", multiple=True, metavar="GLOB", help="Only cells with such a name.")
@click.option("--out", type=click.Path(file_okay=False), default="runs/bench-speech-to-sign")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON list of rows.")
def speech_to_sign(
    data: str | None,
    encoder: str,
    weights: str | None,
    seeds: int,
    cells: tuple[str, ...],
    out: str,
    as_json: bool,
) -> None:
    """Measure spoken words of speakers who were never heard, and the signs made of them.

    Leave one speaker out: every figure is the mean over the speakers, with its 95 % interval over
    the seeds. Rows of signs first pre-train a motion decoder on the other sources of signs.
    Features are kept in --out: remove it to compute them again.
    """
    from regraft.bench.speech.table import measure_speech, signs_markdown
    from regraft.cli.tables import bench_table

    rows = measure_speech(
        data=data, weights=weights, encoder=encoder, out=Path(out), patterns=cells, seeds=seeds
    )
    if as_json:
        click.echo(json.dumps(rows, indent=2))
        return
    click.echo(bench_table(rows))
    click.echo(signs_markdown(rows))
