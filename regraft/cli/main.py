"""The command line: parses, calls, prints. Heavy libraries are imported inside the verbs."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import click

from regraft import __version__
from regraft.cli import champions
from regraft.cli.bench import bench
from regraft.cli.chat import chat, tune_language_model
from regraft.cli.cluster import runs, schedule, submit
from regraft.cli.erase import erase
from regraft.cli.feedback import feedback
from regraft.cli.monitor import monitor, watch
from regraft.cli.search import search
from regraft.cli.serve import serve
from regraft.cli.sign import sign
from regraft.errors import UserError


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="regraft")
def cli() -> None:
    """Graft a pre-trained model onto your few labelled examples, ship it, keep it current.

    \b
    Start:   regraft run recipes/plant_disease.yaml
    Use it:  regraft predict plant_disease PHOTO...
    """


@cli.command()
@click.argument("recipe", type=click.Path(dir_okay=False))
@click.argument("overrides", nargs=-1, metavar="[KEY=VALUE]...")
@click.option(
    "--out", type=click.Path(file_okay=False), help="Folder of the run; default runs/NAME."
)
@click.option(
    "--runner",
    type=click.Choice(["subprocess", "docker"]),
    default="subprocess",
    show_default=True,
    help="Run each step as a process of this machine, or in a container of its engine.",
)
@click.option(
    "--profile",
    "profile_file",
    type=click.Path(dir_okay=False),
    help="For --runner docker: the cluster profile whose images the steps have.",
)
@click.option("--json", "as_json", is_flag=True, help="Print summary.json instead of a table.")
def run(
    recipe: str,
    overrides: tuple[str, ...],
    out: str | None,
    runner: str,
    profile_file: str | None,
    as_json: bool,
) -> None:
    """Run the training pipeline of RECIPE on this machine.

    KEY=VALUE overrides any field by its dotted path, for example data.root=photos
    data.images_per_class=20. Steps whose inputs did not change are taken from the cache, so the
    same command continues a run that failed or was interrupted. With --runner docker the steps run
    in the images of docker/ (docs/containers.md), with the same result.
    """
    from regraft.recipe import load_recipe

    checked = load_recipe(recipe, list(overrides))
    from pipelines.local import run_training

    folder = Path(out or f"runs/{checked.name}")
    containers = None
    if runner == "docker":
        from pipelines.containers import Containers
        from pipelines.profile import load_profile

        profile = load_profile(profile_file) if profile_file else None
        containers = Containers(profile, checked, folder)
    elif profile_file:
        raise click.UsageError("--profile names images: it needs --runner docker")
    summary = run_training(checked, folder, containers=containers)
    if as_json:
        click.echo(json.dumps(summary, indent=2))
    else:
        from regraft.cli.tables import run_table

        click.echo(run_table(summary))


@cli.group()
def recipe() -> None:
    """Look at recipes."""


@recipe.command()
def schema() -> None:
    """Print every field with type, default and meaning as JSON schema."""
    from regraft.recipe import Recipe

    click.echo(json.dumps(Recipe.model_json_schema(), indent=2))


@recipe.command()
@click.argument("recipe", type=click.Path(dir_okay=False))
@click.argument("overrides", nargs=-1, metavar="[KEY=VALUE]...")
def show(recipe: str, overrides: tuple[str, ...]) -> None:
    """Check RECIPE and print it with all defaults filled in."""
    import yaml

    from regraft.recipe import load_recipe

    values = load_recipe(recipe, list(overrides)).model_dump(mode="json")
    click.echo(yaml.safe_dump(values, sort_keys=False, allow_unicode=True))


@cli.command()
@click.argument("name")
@click.argument("inputs", nargs=-1, required=True, metavar="INPUT...")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON list instead of lines.")
@click.option(
    "--test-time",
    type=click.Choice(["batch_statistics", "tent", "centring"]),
    help="Adapt to these inputs first (at least 8), without labels; the registered model stays. "
    "centring: the head's bias, for recordings of one speaker about evenly spread over the words.",
)
@click.option(
    "--motions",
    type=click.Path(file_okay=False),
    default="motions",
    show_default=True,
    help="Where a model that signs writes its motion files (.npz).",
)
def predict(
    name: str, inputs: tuple[str, ...], as_json: bool, test_time: str | None, motions: str
) -> None:
    """Ask the champion of NAME (or NAME@alias, or NAME/version) about files.

    What a model of spoken words signs is written to a motion file of the recording's name; of
    recordings that are called alike, the second one's ends in -2, and so on.
    """
    from regraft.cli.motions import keep_motions
    from regraft.serving.predict import predict as answer

    answers = answer(name, list(inputs), test_time=test_time or "")
    keep_motions(answers, inputs, Path(motions))
    if as_json:
        click.echo(json.dumps(answers, indent=2))
        return
    for value, found in zip(inputs, answers, strict=True):
        unsure = "\tabstains" if found.get("abstains") else ""
        click.echo(f"{value}\t{found['label']}\t{found['confidence']:.3f}{unsure}")


@cli.command(name="add-class")
@click.argument("name")
@click.argument("label")
@click.argument("folder", type=click.Path(file_okay=False))
@click.option(
    "--max-drop-pp",
    default=1.5,
    show_default=True,
    type=click.FloatRange(0, 100),
    help="Points of accuracy that the known classes may lose on their test photos.",
)
@click.option(
    "--manifest",
    type=click.Path(dir_okay=False),
    help="manifest.parquet of the champion's training; default: what its run logged.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of lines.")
def add_class(
    name: str, label: str, folder: str, max_drop_pp: float, manifest: str | None, as_json: bool
) -> None:
    """Teach the champion of NAME the class LABEL from the photos in FOLDER.

    Only a row is added to the head: the backbone and the known classes stay as they are. The
    result is a new version, and the gate decides whether it becomes champion.
    """
    from pipelines.arguments import code_version
    from regraft.steps.add_class import add_class as add

    found = add(
        name,
        label,
        folder,
        manifest=manifest,
        max_drop_pp=max_drop_pp,
        code_version=code_version(),
    )
    if as_json:
        click.echo(json.dumps(found, indent=2))
        return
    from regraft.cli.tables import added_class_table

    click.echo(added_class_table(found))


@cli.command()
@click.argument("name")
@click.option(
    "--onnx", "file", type=click.Path(dir_okay=False), required=True, help="The file to write."
)
@click.option("--int8", is_flag=True, help="Quantise the layers to eight bits.")
@click.option(
    "--images",
    type=click.Path(),
    help="Photos to check on, by class folder; default: those the model's run named.",
)
@click.option("--manifest", type=click.Path(dir_okay=False), help="manifest.parquet to check on.")
@click.option(
    "--max-drop-pp",
    default=0.5,
    show_default=True,
    type=click.FloatRange(0, 100),
    help="Points of accuracy that eight bits may cost.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of lines.")
def export(name: str, file: str, as_json: bool, **options: Any) -> None:
    """Write the champion of NAME (or NAME@alias, NAME/version, a model folder) as ONNX.

    Graph and model are run on the same photos; nothing is written where they disagree. Resizing
    and normalisation stay outside the graph: its metadata say how.
    """
    from regraft.serving.export import export as write

    found = write(name, file, **options)
    if as_json:
        click.echo(json.dumps(found, indent=2))
        return
    from regraft.cli.tables import export_table

    click.echo(export_table(found))


cli.add_command(bench)
cli.add_command(submit)
cli.add_command(runs)
for verb in (champions.history, champions.promote, champions.rollback, champions.pin):
    cli.add_command(verb)
cli.add_command(serve)
cli.add_command(search)
cli.add_command(sign)
cli.add_command(chat)
cli.add_command(tune_language_model)
cli.add_command(monitor)
cli.add_command(schedule)
cli.add_command(watch)
cli.add_command(feedback)
cli.add_command(erase)


@cli.command()
@click.argument("recipe", type=click.Path(dir_okay=False))
@click.argument("overrides", nargs=-1, metavar="[KEY=VALUE]...")
@click.option(
    "--out", type=click.Path(file_okay=False), help="Folder of the run; default runs/NAME-sequence."
)
@click.option("--json", "as_json", is_flag=True, help="Print sequence.json instead of a table.")
def sequence(recipe: str, overrides: tuple[str, ...], out: str | None, as_json: bool) -> None:
    """Learn the tasks of RECIPE one after the other, and measure what is kept.

    The recipe's section `sequence` names tasks, method and memory; naive and joint training run
    beside it. The same command continues a run that was interrupted after its last epoch.
    """
    from pipelines.arguments import code_version
    from regraft.recipe import load_recipe
    from regraft.steps.sequence import sequence as learn

    checked = load_recipe(recipe, list(overrides))
    sections = checked.model_dump(mode="json")
    found = learn(
        **{name: sections[name] for name in ("task", "data", "backbone", "features", "finetune")},
        options=sections["sequence"],
        seed=checked.seed,
        code_version=code_version(),
        out_dir=Path(out or f"runs/{checked.name}-sequence"),
    )
    if as_json:
        click.echo(json.dumps(found, indent=2))
        return
    from regraft.cli.tables import sequence_table

    click.echo(sequence_table(found))


@cli.command(name="compile")
@click.option(
    "--out",
    type=click.Path(file_okay=False),
    default="build/pipelines",
    show_default=True,
    help="Folder of the YAML files.",
)
@click.option(
    "--profile",
    type=click.Path(dir_okay=False),
    help="Cluster profile whose settings every step gets, e.g. infra/profiles/cluster.yaml.",
)
@click.option(
    "--shards",
    type=click.IntRange(1, 256),
    default=1,
    show_default=True,
    help="features.shards of the recipes that the pipelines are to run.",
)
def compile_pipelines(out: str, profile: str | None, shards: int) -> None:
    """Compile the pipelines to YAML for a Kubeflow cluster."""
    from pipelines.profile import load_profile

    checked = load_profile(profile) if profile else None
    from pipelines.compiled import compile_all

    for path in compile_all(Path(out), checked, shards=shards):
        click.echo(str(path))


@cli.command()
@click.option(
    "--out", type=click.Path(dir_okay=False), required=True, help="The .safetensors file."
)
@click.option(
    "--of",
    default="pictures",
    show_default=True,
    type=click.Choice(["pictures", "speech"]),
    help="What it reads: patterned surfaces, or words that a synthesiser says.",
)
@click.option("--architecture", default="test_resnet", show_default=True, help="A timm name.")
@click.option("--epochs", default=None, type=int, help="Default: as the committed starter.")
@click.option("--seed", default=0, show_default=True)
def pretrain(out: str, of: str, architecture: str, epochs: int | None, seed: int) -> None:
    """Make a starter backbone on generated source tasks, for machines that reach no hub."""
    options: dict[str, Any] = {} if epochs is None else {"epochs": epochs}
    if of == "speech":
        from regraft.training.speech_pretraining import pretrain_speech

        card = pretrain_speech(Path(out), seed=seed, **options)
    else:
        from regraft.training.pretraining import pretrain_starter

        card = pretrain_starter(Path(out), architecture=architecture, seed=seed, **options)
    click.echo(json.dumps(card, indent=2))


def main() -> None:
    """Entry point: exit 0 done, 2 the user's input is at fault, 1 anything else."""
    for name, value in (
        ("HF_HUB_DISABLE_TELEMETRY", "1"),
        ("DO_NOT_TRACK", "1"),
        ("MLFLOW_DISABLE_TELEMETRY", "true"),
        ("DVC_NO_ANALYTICS", "1"),
    ):
        os.environ.setdefault(name, value)
    try:
        cli.main(standalone_mode=False)
    except UserError as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(2)
    except click.ClickException as error:
        error.show()
        sys.exit(2)
    except (click.Abort, KeyboardInterrupt):
        click.echo("interrupted; the same command continues where this run stopped", err=True)
        sys.exit(130)
    except Exception as error:
        if os.environ.get("REGRAFT_TRACEBACK"):
            raise
        kind = "" if type(error).__name__ == "StepError" else f"{type(error).__name__}: "
        click.echo(f"error: {kind}{error}", err=True)
        click.echo("  set REGRAFT_TRACEBACK=1 to see where", err=True)
        sys.exit(1)


if __name__ == "__main__":
    main()
