"""`regraft serve`: answers over HTTP."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click

_ENVIRONMENT = {
    # MLflow's own are minutes: so long would the thread that follows the alias hang
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "20",
    "MLFLOW_LOGGING_LEVEL": "WARNING",
    # a kept connection to a database that was replaced would read the old one for ever
    "MLFLOW_SQLALCHEMYSTORE_POOLCLASS": "NullPool",
    "PROMETHEUS_DISABLE_CREATED_SERIES": "True",
}


@click.command()
@click.argument("name")
@click.argument("overrides", nargs=-1, metavar="[serving.FIELD=VALUE]...")
@click.option("--host", default="127.0.0.1", show_default=True, help="0.0.0.0 for all networks.")
@click.option(
    "--port",
    default=8000,
    show_default=True,
    type=click.IntRange(0, 65535),
    help="0 takes a free one; the first line of output names it.",
)
@click.option("--token-env", metavar="VARIABLE", help="Ask for the bearer token in this variable.")
@click.option(
    "--token-file",
    type=click.Path(dir_okay=False),
    help="Ask for a bearer token of this file, one per line.",
)
@click.option(
    "--shadow",
    metavar="ALIAS|VERSION",
    help="A challenger that also answers, into the log only.",
)
@click.option("--shadow-share", type=click.FloatRange(0, 1), help="Share of inputs that it gets.")
@click.option("--keep-inputs/--no-keep-inputs", default=None, help="Keep the inputs themselves.")
def serve(
    name: str,
    overrides: tuple[str, ...],
    host: str,
    port: int,
    token_env: str | None,
    token_file: str | None,
    shadow: str | None,
    shadow_share: float | None,
    keep_inputs: bool | None,
) -> None:
    """Answer over HTTP with the champion of NAME (or NAME@alias, NAME/version).

    The server follows the alias without a restart, writes every answer to the prediction log before
    it gives it, and stops in order at SIGTERM or Ctrl-C. Limits and other options come from the
    section `serving` of the recipe that the model was trained by; overrides and flags win.

    \b
    regraft serve plant_disease --port 8000
    curl -H 'Content-Type: image/jpeg' --data-binary @PHOTO.jpg http://127.0.0.1:8000/predict
    curl -F file=@PHOTO.jpg http://127.0.0.1:8000/predict

    Also: GET /healthz /readyz /metrics /model, POST /feedback. See docs/serving.md.
    """
    _restart_with_environment()
    from regraft.serving.start import serve as answer
    from regraft.serving.tokens import load_tokens

    flags = {"shadow": shadow, "shadow_share": shadow_share, "keep_inputs": keep_inputs}
    given = [f"serving.{key}={str(value).lower() if isinstance(value, bool) else value}"
             for key, value in flags.items() if value is not None]  # fmt: skip
    answer(
        name,
        host=host,
        port=port,
        overrides=[*overrides, *given],
        tokens=load_tokens(variable=token_env or "", file=token_file or ""),
        say=click.echo,
    )


def _restart_with_environment() -> None:
    """The allocator and the thread pools read these only when a process starts."""
    from regraft.steps.hardware import PROCESS_ENVIRONMENT

    wanted = {**PROCESS_ENVIRONMENT, **_ENVIRONMENT}
    missing = {key: value for key, value in wanted.items() if key not in os.environ}
    if missing and Path(sys.argv[0]).name in {"regraft", "main.py"}:
        command = [sys.executable, "-m", "regraft.cli.main", *sys.argv[1:]]
        os.execve(sys.executable, command, {**os.environ, **missing})
