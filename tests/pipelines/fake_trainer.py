"""Kubeflow Trainer as its API shows it: TrainJobs, which it runs on "nodes" of this machine.

Each node is the job's own command, with the variables that Trainer's plugin for torch sets; the
pods' volumes are this machine's folders.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from dataclasses import dataclass, field
from typing import Any

from tests.pipelines.fake_cluster import FakeCluster

PATH = "/apis/trainer.kubeflow.org/v1alpha1/namespaces/"


@dataclass
class FakeTrainer(FakeCluster):
    """Keeps TrainJobs by name. `installed` false has no such API, `allowed` false refuses, `runs`
    false lets every job fail at once."""

    installed: bool = True
    allowed: bool = True
    runs: bool = True
    jobs: dict[str, dict[str, Any]] = field(default_factory=dict)
    nodes: dict[str, list[subprocess.Popen[bytes]]] = field(default_factory=dict)
    calls: list[str] = field(default_factory=list)

    def answer(self, method: str, path: str, query: dict[str, list[str]], body: Any,
               token: str) -> tuple[int, Any]:  # fmt: skip
        assert path.startswith(PATH), path
        if not self.installed:
            return 404, "404 page not found"
        if not self.allowed:
            return 403, {"kind": "Status", "message": "trainjobs is forbidden: cannot create"}
        namespace, kind, *name = path.removeprefix(PATH).split("/")
        assert (namespace, kind) == ("team", "trainjobs")
        self.calls.append(method)
        if method == "POST":
            return 201, self._create(body)
        if name[0] not in self.jobs:
            return 404, {"kind": "Status", "message": f"trainjobs {name[0]!r} not found"}
        if method == "DELETE":
            del self.jobs[name[0]]
            return 200, {"kind": "Status", "status": "Success"}
        return 200, self._seen(name[0])

    def _create(self, job: dict[str, Any]) -> dict[str, Any]:
        name = job["metadata"]["name"]
        assert name not in self.jobs
        self.jobs[name] = json.loads(json.dumps(job))
        self.nodes[name] = self._started(job["spec"]["trainer"]) if self.runs else []
        return job

    def _started(self, trainer: dict[str, Any]) -> list[subprocess.Popen[bytes]]:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = str(free.getsockname()[1])
        program, *arguments = trainer["command"]
        assert program == "torchrun"
        command = [sys.executable, "-m", "torch.distributed.run", *arguments]
        given = {one["name"]: one["value"] for one in trainer["env"]}
        return [
            subprocess.Popen(
                command,
                env=os.environ | given | {
                    "PET_NNODES": str(trainer["numNodes"]),
                    "PET_NPROC_PER_NODE": str(trainer["numProcPerNode"]),
                    "PET_NODE_RANK": str(rank),
                    "PET_MASTER_ADDR": "127.0.0.1",
                    "PET_MASTER_PORT": port,
                },
            )
            for rank in range(trainer["numNodes"])
        ]  # fmt: skip

    def _seen(self, name: str) -> dict[str, Any]:
        codes = [node.poll() for node in self.nodes[name]]
        if not self.runs or any(codes):
            condition = {"type": "Failed", "status": "True", "message": "node-0 exited with 1"}
        elif None in codes:
            condition = {"type": "Suspended", "status": "False"}
        else:
            condition = {"type": "Complete", "status": "True", "message": "all nodes ended well"}
        return self.jobs[name] | {"status": {"conditions": [condition]}}
