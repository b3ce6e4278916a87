"""`regraft submit`, `schedule` and `runs`: the cluster's side of `regraft run` and `monitor`."""

from __future__ import annotations

import json

import click

_PROFILE = click.option(
    "--profile",
    "profile_file",
    type=click.Path(dir_okay=False),
    default="infra/profiles/cluster.yaml",
    show_default=True,
    help="Cluster profile: where Kubeflow is and how steps run there.",
)
_NO_LOOKUP = click.option(
    "--no-lookup", is_flag=True, help="Do not look for secrets and volumes beforehand."
)


@click.command()
@click.argument("recipe", type=click.Path(dir_okay=False))
@click.argument("overrides", nargs=-1, metavar="[KEY=VALUE]...")
@_PROFILE
@click.option("--data-version", default="", help="Which data lie in the cluster's volume.")
@_NO_LOOKUP
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of lines.")
def submit(
    recipe: str,
    overrides: tuple[str, ...],
    profile_file: str,
    data_version: str,
    no_lookup: bool,
    as_json: bool,
) -> None:
    """Run the training pipeline of RECIPE on a Kubeflow cluster.

    Arguments, paths, secrets and volumes are checked before anything is sent. Kubeflow is at `host`
    of the profile or KFP_HOST, the token in KFP_TOKEN.

    \b
    regraft submit recipes/plant_disease.yaml data.root=/data/leaves --profile cluster.yaml
    """
    from pipelines.profile import load_profile
    from regraft.recipe import load_recipe

    checked, profile = load_recipe(recipe, list(overrides)), load_profile(profile_file)
    from pipelines.submission import submit_training

    started = submit_training(checked, profile, data_version=data_version, looked_up=not no_lookup)
    if as_json:
        click.echo(json.dumps(started, indent=2))
        return
    click.echo(f"started {started['name']} ({started['run_id']})\n  {started['url']}")


@click.command()
@click.argument("recipe", type=click.Path(dir_okay=False))
@click.argument("overrides", nargs=-1, metavar="[KEY=VALUE]...")
@click.option("--cron", required=True, help='Six fields, seconds first: "0 0 * * * *" is hourly.')
@_PROFILE
@_NO_LOOKUP
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of lines.")
def schedule(
    recipe: str,
    overrides: tuple[str, ...],
    cron: str,
    profile_file: str,
    no_lookup: bool,
    as_json: bool,
) -> None:
    """Run the drift check of RECIPE on a Kubeflow cluster again and again.

    Creates the one recurring run of this recipe or makes it what is asked for now: the latest
    pipeline version, one at a time, nothing made up for. Run it again after every change of recipe
    or library. Everything is checked before anything is sent.
    """
    from pipelines.profile import load_profile
    from regraft.recipe import load_recipe

    checked, profile = load_recipe(recipe, list(overrides)), load_profile(profile_file)
    from pipelines.scheduling import schedule_monitoring

    found = schedule_monitoring(checked, cron, profile, looked_up=not no_lookup)
    if as_json:
        click.echo(json.dumps(found, indent=2))
        return
    click.echo(f"{found['outcome']}: {found['name']} at {found['cron']!r}\n  {found['url']}")


@click.command()
@_PROFILE
@click.option("--limit", default=10, show_default=True, type=click.IntRange(1, 200))
@click.option("--json", "as_json", is_flag=True, help="Print a JSON list instead of lines.")
def runs(profile_file: str, limit: int, as_json: bool) -> None:
    """List the newest runs on a Kubeflow cluster."""
    from pipelines.profile import load_profile
    from pipelines.submission import recent_runs

    found = recent_runs(load_profile(profile_file), limit=limit)
    if as_json:
        click.echo(json.dumps(found, indent=2))
        return
    for run in found:
        error = f"  {run['error']}" if run["error"] else ""
        click.echo(f"{run['created']:<26} {run['state']:<10} {run['name']}  {run['run_id']}{error}")
    if not found:
        click.echo("no runs yet")
