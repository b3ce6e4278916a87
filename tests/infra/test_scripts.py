"""The shell that runs in containers, run here with a stand-in for the object store's client."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.infra.rendered import INFRA, ROOTS, containers, needs_kubectl, pods

SETUP = INFRA / "base" / "object_store_setup.sh"
MC = """#!/bin/sh
echo "$@" >> "$CALLS"
case "$*" in
  *"policy attach"*) exit "$ATTACH" ;;
  *"user info"*) echo "PolicyName: $ATTACHED" ;;
  *"ilm rule ls"*) exit 1 ;;
esac
"""


def run_setup(folder: Path, *, attach: int = 0, attached: str = "") -> tuple[int, list[str]]:
    """The setup with a client that notes what it is asked; exit status and calls."""
    client, calls = folder / "bin" / "mc", folder / "calls"
    client.parent.mkdir(exist_ok=True)
    client.write_text(MC)
    client.chmod(0o755)
    script = folder / "setup.sh"
    script.write_text(SETUP.read_text().replace("/tmp/", f"{folder}/"))
    environment = {
        "PATH": f"{client.parent}:{os.environ['PATH']}", "CALLS": str(calls),
        "ATTACH": str(attach), "ATTACHED": attached,
        "MLFLOW_USER": "mlflow", "MLFLOW_SECRET": "one", "BACKUP_USER": "backup",
        "BACKUP_SECRET": "two",
    }  # fmt: skip
    done = subprocess.run(["sh", str(script)], env=environment, capture_output=True, check=False)
    prefix = f"--config-dir {folder}/mc "
    lines = calls.read_text().splitlines()
    assert all(line.startswith(prefix) for line in lines), "it writes outside of /tmp"
    return done.returncode, [line.removeprefix(prefix) for line in lines]


def test_each_user_reaches_only_the_own_bucket(tmp_path: Path) -> None:
    code, calls = run_setup(tmp_path)
    assert code == 0
    for bucket, user, secret in (("mlflow", "mlflow", "one"), ("regraft-backups", "backup", "two")):
        assert f"mb --ignore-existing store/{bucket}" in calls
        assert f"admin user add store {user} {secret}" in calls
        assert f"admin policy attach store {bucket} --user {user}" in calls
        (statement,) = json.loads((tmp_path / f"{bucket}.json").read_text())["Statement"]
        assert statement["Resource"] == [f"arn:aws:s3:::{bucket}", f"arn:aws:s3:::{bucket}/*"]


def test_run_again_it_takes_what_is_attached_already(tmp_path: Path) -> None:
    assert run_setup(tmp_path, attach=1, attached="mlflow,regraft-backups")[0] == 0


def test_a_policy_that_cannot_be_attached_fails_the_job(tmp_path: Path) -> None:
    assert run_setup(tmp_path, attach=1, attached="none")[0] != 0


@needs_kubectl
@pytest.mark.parametrize("root", ROOTS)
def test_every_inline_script_is_valid_shell(root: str) -> None:
    for name, template in pods(root):
        for container in containers(template):
            command = container.get("command", [])
            if command[:1] == ["sh"] and len(command) == 3:  # sh -euc SCRIPT
                shell = shutil.which("sh")
                done = subprocess.run([str(shell), "-n"], input=command[2].encode(), check=False)
                assert done.returncode == 0, name
