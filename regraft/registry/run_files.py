"""Files that the run of a registered version left behind."""

from __future__ import annotations

from pathlib import Path

from regraft.registry import store
from regraft.registry.versions import Reference

MANIFEST = "data/manifest.parquet"
"""Where a run's manifest lies among its artifacts."""
RECIPE = "recipe/recipe.json"
"""Where its checked recipe lies."""


def run_file(reference: Reference, artifact: str, folder: Path) -> Path | None:
    """A local copy in `folder` of an artifact of the run that made a version; None without one."""
    from mlflow.exceptions import MlflowException

    client = store.connect()
    run_id = str(client.get_model_version(*reference).run_id)
    try:
        with store.quiet():
            return Path(client.download_artifacts(run_id, artifact, str(folder)))
    except (MlflowException, OSError):
        return None
