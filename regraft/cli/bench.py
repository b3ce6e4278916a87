"""`regraft bench`: the published comparisons, run again."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from regraft.cli.bench_serve import serve
from regraft.cli.bench_speech import speech_to_sign


@click.group()
def bench() -> None:
    """Run the published comparisons again."""


bench.add_command(serve)
bench.add_command(speech_to_sign)


@bench.command()
@click.argument("recipe", type=click.Path(dir_okay=False))
@click.argument("overrides", nargs=-1, metavar="[KEY=VALUE]...")
@click.option("--out", type=click.Path(file_okay=False), default="runs/bench-cost")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of lines.")
def cost(recipe: str, overrides: tuple[str, ...], out: str, as_json: bool) -> None:
    """Compare the cost of the whole pipeline with one plain training loop, in CPU seconds.

    The loop is what an engineer would write by hand: three epochs of a new head, three of the last
    third, evaluate (pipelines/plain_loop.py). Nothing is taken from the cache.
    """
    from pipelines.bench import cost as measure
    from regraft.cli.tables import cost_table
    from regraft.recipe import load_recipe

    found = measure(load_recipe(recipe, list(overrides)), Path(out))
    click.echo(json.dumps(found, indent=2) if as_json else cost_table(found))


def _table_options(command: Callable[..., None]) -> Callable[..., None]:
    for option in (
        click.option("--json", "as_json", is_flag=True, help="Print a JSON list of rows."),
        click.option(
            "--out",
            type=click.Path(file_okay=False),
            help="Folder of table.md, log.txt and what is finished; default runs/bench-NAME.",
        ),
        click.option(
            "--cells",
            multiple=True,
            metavar="GLOB",
            help="Only the cells with such a name, for example 'lab 5 *'; may be repeated.",
        ),
        click.option(
            "--dear-seeds",
            default=1,
            show_default=True,
            type=click.IntRange(1),
            help="The same for the cells that train a whole network.",
        ),
        click.option(
            "--seeds",
            default=5,
            show_default=True,
            type=click.IntRange(1),
            help="How often a cell is measured; every seed draws another split.",
        ),
        click.option(
            "--weights",
            multiple=True,
            metavar="NAME=FILE",
            help="Backbones, the main one first (NAME alone: its own weights); default: "
            "mobilenetv2_100 and mobilenetv1_075 in $REGRAFT_DATA/weights.",
        ),
        click.option(
            "--data",
            type=click.Path(file_okay=False),
            help="Folder with lab/CLASS/* and field/CLASS/*; default $REGRAFT_DATA/plants.",
        ),
    ):
        command = option(command)
    return command


@bench.command()
@_table_options
def shots(**options: Any) -> None:
    """Compare methods with 1, 5, 10, 20 and 100 photos per class.

    Prints one row per cell: mean accuracy on the test photos with its 95 % interval (over the
    seeds; with one seed over the photos), as fractions of 1, and CPU seconds of the training,
    feature extraction included (that of the test photos too, which flatters the others). The same
    command continues where an interrupted one stopped.
    """
    _print_table("shots", **options)


@bench.command()
@_table_options
def strategies(**options: Any) -> None:
    """Compare plans, regularisation, adaptation, the trunk cache and students.

    Prints one row per cell: the mean of the figure that the row names, with its 95 % interval (over
    the seeds; with one seed over the photos), as fractions of 1, and CPU seconds of the training,
    feature extraction included. The same command continues where an interrupted one stopped.
    """
    _print_table("strategies", **options)


@bench.command()
@click.argument("overrides", nargs=-1, metavar="[KEY=VALUE]...")
@click.option("--data", type=click.Path(file_okay=False), help="As for `bench shots`.")
@click.option("--weights", metavar="NAME=FILE", help="The backbone; as for `bench shots`.")
@click.option("--out", type=click.Path(file_okay=False), default="runs/bench-drift")
@click.option(
    "--streams",
    "repetitions",
    default=20,
    show_default=True,
    type=click.IntRange(2),
    help="Streams of each kind, every one with a split and a model of its own.",
)
@click.option(
    "--windows",
    "calm_windows",
    default=50,
    show_default=True,
    type=click.IntRange(2),
    help="Windows of a stream without a shift.",
)
@click.option(
    "--labels", default=20, show_default=True, type=click.IntRange(0), help="Labels per window."
)
@click.option("--only", default="*", metavar="GLOB", help="Only kinds of streams of such a name.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON list of rows.")
def drift(
    overrides: tuple[str, ...],
    data: str | None,
    weights: str | None,
    out: str,
    repetitions: int,
    calm_windows: int,
    labels: int,
    only: str,
    as_json: bool,
) -> None:
    """Measure the false-alarm rate and the detection delay of the monitors on streams of photos.

    KEY=VALUE are fields of the recipe's section `monitoring`, for example persistence=1. Photos are
    embedded once and kept in --out; the streams are drawn from them.
    """
    from regraft.bench.drift import measure_streams, photos_of
    from regraft.bench.drift_streams import chosen_streams
    from regraft.cli.tables import drift_table
    from regraft.recipe.loading import apply_override, check_options
    from regraft.recipe.monitoring import MonitoringOptions

    values: dict[str, Any] = {}
    for override in overrides:
        apply_override(values, override)
    fields = "fields of the recipe's section `monitoring`"
    options = check_options(
        MonitoringOptions, values, noun="monitoring section", where="KEY=VALUE", fields=fields
    )
    photos = photos_of(data=data, weights=[weights] if weights else [], out=Path(out))
    rows = measure_streams(
        photos,
        options=options,
        repetitions=repetitions,
        kinds=chosen_streams(only, calm_windows),
        labels=labels,
    )
    click.echo(json.dumps(rows, indent=2) if as_json else drift_table(rows))


@bench.command("image-text")
@click.option(
    "--data",
    type=click.Path(),
    help="A table of image-text pairs (file_name, question or text, answer or label) or the folder "
    "with its metadata.jsonl; default $REGRAFT_DATA/image_text/vqa_rad. data/field_notes.jsonl is "
    "the embedded set.",
)
@click.option(
    "--weights",
    metavar="NAME=FILE",
    help="The vision backbone (NAME alone: its own weights, `starter` is embedded); default "
    "mobilenetv2_100 in $REGRAFT_DATA/weights.",
)
@click.option("--out", type=click.Path(file_okay=False), default="runs/bench-image-text")
@click.option("--seeds", default=3, show_default=True, type=click.IntRange(1))
@click.option("--json", "as_json", is_flag=True, help="Print a JSON list of rows.")
def image_text(data: str | None, weights: str | None, out: str, seeds: int, as_json: bool) -> None:
    """Compare image alone, text alone and every fusion of the two, on frozen encoders.

    Prints accuracies on the test pairs and differences with 95 % intervals (bootstrap over images),
    answers with one modality missing, and recall@5 of retrieval both ways. Training pairs alone
    choose strengths, fusions and who answers.
    """
    from regraft.bench.image_text import measure_image_text
    from regraft.bench.inputs import backbones, pairs_table
    from regraft.cli.tables import bench_table

    backbone = backbones([weights] if weights else [])[0]
    rows = measure_image_text(pairs_table(data), backbone, out=Path(out), seeds=seeds)
    click.echo(json.dumps(rows, indent=2) if as_json else bench_table(rows))


@bench.command()
@click.option("--data", type=click.Path(file_okay=False), help="Default: $REGRAFT_DATA/medical.")
@click.option("--only", multiple=True, metavar="GLOB", help="Only the cells with such a name.")
@click.option("--seeds", default=3, show_default=True, type=click.IntRange(1))
@click.option("--out", type=click.Path(file_okay=False), default="runs/bench-medical")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON list of rows.")
def medical(data: str | None, only: tuple[str, ...], seeds: int, out: str, as_json: bool) -> None:
    """Measure how questions about health are understood and answers to them found.

    Prints one row per cell: mean over the seeds with its 95 % interval, and CPU seconds of the
    training. Every seed draws other test topics. Texts are embedded once and kept in --out.
    """
    from pipelines.arguments import code_version
    from regraft.bench.inputs import pack_folder
    from regraft.bench.medical import measure_medical

    rows = measure_medical(
        pack_folder("medical", data, "--data"),
        patterns=only,
        out=Path(out),
        code_version=code_version(),
        seeds=seeds,
    )
    _show(rows, as_json)


def _print_table(
    name: str,
    *,
    data: str | None,
    weights: tuple[str, ...],
    cells: tuple[str, ...],
    out: str | None,
    as_json: bool,
    **seeds: int,
) -> None:
    """Exit code 1 when a cell failed."""
    from pipelines.arguments import code_version
    from regraft.bench.tables import measure_table

    rows = measure_table(
        name,
        data=data,
        weights=weights,
        patterns=cells,
        out=Path(out or f"runs/bench-{name}"),
        code_version=code_version(),
        **seeds,
    )
    _show(rows, as_json)


def _show(rows: list[dict[str, Any]], as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(rows, indent=2))
    else:
        from regraft.cli.tables import bench_table

        click.echo(bench_table(rows))
    if any("error" in row for row in rows):
        sys.exit(1)
