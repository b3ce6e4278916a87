"""The scripts of infra's backup and restore, run as they stand against services of this machine.

Only their surroundings differ: the programs of PostgreSQL that are here, folders of the test for
those of the pod, and `mc` (MinIO's client, which no package index carries) played by boto3.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

from tests.e2e.services import INFRA, Services
from tests.infra.rendered import containers, pod

_MC = '''#!{python}
"""The four commands of MinIO's client that the scripts use."""
import datetime, os, pathlib, sys
import boto3

words = [word for word in sys.argv[1:] if not word.startswith("--")]
flags = dict.fromkeys(word for word in sys.argv[1:] if word.startswith("--"))
assert "--config-dir" in flags, "it would write outside of /tmp"
verb, *paths = words[1:]
store = boto3.client("s3", endpoint_url=os.environ["ENDPOINT"], region_name="us-east-1",
                     aws_access_key_id="mlflow", aws_secret_access_key=os.environ["SECRET"])
bucket = next(path for path in paths if path.startswith("store/")).split("/")[1]
found = store.list_objects_v2(Bucket=bucket).get("Contents", [])
if verb == "cp" and paths[-1].startswith("store/"):
    for path in paths[:-1]:
        store.upload_file(path, bucket, pathlib.Path(path).name)
elif verb == "cp":
    for entry in found:
        store.download_file(bucket, entry["Key"], str(pathlib.Path(paths[-1], entry["Key"])))
elif verb == "rm" and "--older-than" in flags:
    assert paths[0] == "30d", paths
    oldest = datetime.datetime.now(datetime.UTC) - datetime.timedelta(days=30)
    for entry in found:
        if entry["LastModified"] < oldest:
            store.delete_object(Bucket=bucket, Key=entry["Key"])
else:
    sys.exit("mc stand-in: unknown " + " ".join(sys.argv))
'''


def back_up(services: Services, folder: Path) -> None:
    """What the CronJob does in one night."""
    _run(_pod("base/backup.yaml"), services, folder)


def restore(services: Services, folder: Path) -> str:
    """What the Job of infra/restore does; returns what it printed."""
    return _run(_pod("restore/job.yaml"), services, folder)


def _pod(path: str) -> dict[str, Any]:
    manifest = yaml.safe_load((INFRA / path).read_text(encoding="utf-8"))
    template = pod(manifest)
    assert template is not None
    return template


def _run(template: dict[str, Any], services: Services, folder: Path) -> str:
    """Every container of the pod, one after the other; the first that fails ends it."""
    volume = folder / "backup"
    volume.mkdir(exist_ok=True)
    for old in volume.iterdir():  # an emptyDir
        old.unlink()
    client = folder / "mc"
    client.write_text(_MC.replace("{python}", sys.executable), encoding="utf-8")
    client.chmod(0o755)
    printed = ""
    for container in containers(template):
        shell, flags, script = container["command"]
        assert "/backup" in script
        given = {one["name"]: one["value"] for one in container["env"] if "value" in one}
        done = subprocess.run(
            [shell, flags, script.replace("/backup", str(volume))],
            env={
                **given,
                **services.database.client(),
                "PATH": f"{folder}:{services.database.programs}:{os.environ['PATH']}",
                "ENDPOINT": services.store.url,
                "SECRET": services.store.credentials()["AWS_SECRET_ACCESS_KEY"],
            },
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{container['name']}: {done.stderr}"
        printed += done.stdout
    return printed
