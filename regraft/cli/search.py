"""`regraft search`: images by a text, texts by an image."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import click

from regraft.errors import UserError


@click.command()
@click.argument("name")
@click.argument("overrides", nargs=-1, metavar="[KEY=VALUE]...")
@click.option("--text", help="Find images that fit these words.")
@click.option("--image", type=click.Path(dir_okay=False), help="Find texts that fit this image.")
@click.option(
    "--among",
    type=click.Path(),
    required=True,
    help="What is searched: a folder with metadata.jsonl or .csv, or such a table.",
)
@click.option("-k", "count", type=click.IntRange(1), default=5, show_default=True, help="How many.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON list instead of lines.")
def search(
    name: str,
    overrides: tuple[str, ...],
    text: str | None,
    image: str | None,
    among: str,
    count: int,
    as_json: bool,
) -> None:
    """Search a table of image-text pairs with the champion of NAME (or NAME@alias, NAME/version).

    The model must be one of the task image_text_classification. Without one, NAME is the path of a
    recipe of this task, with overrides as of `regraft run`: its encoders are aligned on the pairs
    of its data.root, which need no label. What is searched is embedded once and kept in
    REGRAFT_HOME.
    """
    from regraft.data.pair_files import PairFile
    from regraft.data.texts import open_text
    from regraft.serving.search import RECIPES
    from regraft.serving.search import search as find

    if (text is None) == (image is None):
        raise UserError(
            "a query is an image or a text",
            got="neither" if text is None else "both",
            expected="--text WORDS or --image FILE",
        )
    query = PairFile(None, open_text(text)) if text is not None else PairFile(_read(image), None)
    if overrides and Path(name).suffix not in RECIPES:
        raise UserError(
            "only a recipe has fields to change", where=name, got=" ".join(overrides),
            expected="the path of a recipe before them",
        )  # fmt: skip
    found = find(name, query, Path(among), k=count, overrides=overrides)
    if as_json:
        click.echo(json.dumps([asdict(one) for one in found], indent=2))
        return
    for one in found:
        click.echo(f"{one.cosine:.3f}\t{one.item}")


def _read(image: str | None) -> bytes:
    try:
        return Path(str(image)).read_bytes()
    except OSError as error:
        raise UserError(
            "the image cannot be read", where=str(image), got=error.strerror or str(error)
        ) from error
