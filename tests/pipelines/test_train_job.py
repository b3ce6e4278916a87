"""Fine-tuning on several nodes: what is sent to Kubeflow Trainer, and what its answers become.

After a wanted change of the TrainJob: python -m tests.pipelines.test_train_job
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipelines import train_job
from pipelines.profile import ClusterProfile, load_profile
from regraft.errors import UserError
from tests.infra.pod_security import violations
from tests.pipelines.fake_cluster import serving
from tests.pipelines.fake_trainer import FakeTrainer
from tests.pipelines.test_compiled import ROOT

GOLDEN = Path(__file__).parent / "golden_train_job.yaml"
FILE = Path("/home/regraft/state/home/work/launched-0/arguments.json")


def several_nodes() -> ClusterProfile:
    return load_profile(ROOT / "infra" / "profiles" / "cluster_gpu.yaml", ["trainer={nodes: 4}"])


def reviewed() -> dict[str, Any]:
    """The TrainJob of the GPU profile with four nodes, as it is submitted."""
    job = train_job.template(several_nodes())
    job["metadata"]["name"] = "regraft-0"
    job["spec"]["trainer"]["command"] = ["torchrun", "-m", "regraft.steps.launching", str(FILE)]
    return job


def test_it_is_the_one_that_was_reviewed() -> None:
    golden = yaml.safe_load(GOLDEN.read_text(encoding="utf-8"))
    assert reviewed() == golden, "wanted? see the docstring of this file"


def test_kubeflow_s_own_models_take_it_and_nothing_else() -> None:
    train_job.check(reviewed())
    for path, value in (("trainer.numNodes", "4"), ("trainer.nodes", 4), ("runtimeRef.name", 1)):
        wrong = json.loads(json.dumps(reviewed()))
        section, key = path.split(".")
        wrong["spec"][section][key] = value
        with pytest.raises(ValueError):
            train_job.check(wrong)


def test_its_pods_are_restricted() -> None:
    (patch,) = reviewed()["spec"]["runtimePatches"]
    (job,) = patch["trainingRuntimeSpec"]["template"]["spec"]["replicatedJobs"]
    pod = job["template"]["spec"]["template"]["spec"]
    assert violations(pod) == []
    (container,) = pod["containers"]
    assert container["securityContext"]["readOnlyRootFilesystem"] is True
    assert {"/tmp", "/data", "/dev/shm"} <= {m["mountPath"] for m in container["volumeMounts"]}


def test_the_step_only_waits_and_the_nodes_have_its_resources(tmp_path: Path) -> None:
    from pipelines.compiled import compile_one

    profile = several_nodes()
    text = compile_one("training_without_student", tmp_path, profile).read_text()
    spec = next(yaml.safe_load_all(text))
    container = spec["deploymentSpec"]["executors"]["exec-progressive-finetune"]["container"]
    environment = {one["name"]: one["value"] for one in container["env"]}
    assert environment["REGRAFT_LAUNCHER"] == "python -m pipelines.train_job"
    job = json.loads(environment["REGRAFT_TRAIN_JOB"])
    assert job == train_job.template(profile)
    assert "accelerator" not in container["resources"]
    limits = job["spec"]["trainer"]["resourcesPerNode"]["limits"]
    assert limits == {"memory": "32Gi", "nvidia.com/gpu": "1"}
    others = [one["container"].get("env", []) for name, one in
              spec["deploymentSpec"]["executors"].items() if "finetune" not in name]  # fmt: skip
    assert not [e for env in others for e in env if e["name"] == "REGRAFT_LAUNCHER"]


@pytest.fixture
def trainer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeTrainer]:
    monkeypatch.setattr(train_job, "_SECONDS_BETWEEN_LOOKS", 0.05)
    with serving(FakeTrainer()) as running:
        kube = tmp_path / "kubeconfig"
        kube.write_text(kubeconfig(running.url))
        monkeypatch.setattr("kubernetes.config.kube_config.KUBE_CONFIG_DEFAULT_LOCATION", str(kube))
        profile = several_nodes().model_copy(update={"namespace": "team"})
        monkeypatch.setenv(train_job.TEMPLATE, json.dumps(train_job.template(profile)))
        yield running


def kubeconfig(url: str) -> str:
    return yaml.safe_dump({
        "apiVersion": "v1", "kind": "Config", "current-context": "c",
        "clusters": [{"name": "c", "cluster": {"server": url}}],
        "users": [{"name": "u", "user": {}}],
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
    })  # fmt: skip


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "arguments.json"
    path.write_text("{}")
    return path


def test_a_job_that_fails_says_where_to_look_and_is_replaced_by_the_next_try(
    trainer: FakeTrainer, file: Path
) -> None:
    trainer.runs = False
    for _ in range(2):
        with pytest.raises(UserError, match="did not end well") as caught:
            train_job.run(file)
        assert "node-0 exited with 1" in str(caught.value)
        assert "kubectl -n team describe trainjob regraft-" in str(caught.value)
        assert len(trainer.jobs) == 1
    assert trainer.calls.count("POST") == 2
    assert trainer.calls.count("DELETE") == 1


def test_a_step_that_was_started_again_waits_for_the_job_it_had_submitted(
    trainer: FakeTrainer, file: Path
) -> None:
    job = train_job.filled(train_job.template(several_nodes()), file)
    name = job["metadata"]["name"]
    trainer.jobs[name], trainer.nodes[name] = job, []  # all of its nodes ended well meanwhile
    train_job.run(file)
    assert "POST" not in trainer.calls
    assert trainer.jobs == {}, "and it is tidied away"


@pytest.mark.parametrize(
    ("state", "words"),
    [
        ({"installed": False}, ["install Kubeflow Trainer", "docs/cluster.md"]),
        ({"allowed": False}, ["403", "service account", "infra/base/accounts.yaml"]),
    ],
)
def test_a_refusal_says_what_to_do(
    state: dict[str, Any], words: list[str], trainer: FakeTrainer, file: Path
) -> None:
    trainer.__dict__ |= state
    with pytest.raises(UserError) as caught:
        train_job.run(file)
    for word in words:
        assert word in str(caught.value)


def test_the_role_of_the_steps_lets_them_submit() -> None:
    documents = yaml.safe_load_all((ROOT / "infra" / "base" / "accounts.yaml").read_text())
    (role,) = [one for one in documents if one["kind"] == "Role"]
    (rule,) = [r for r in role["rules"] if r["apiGroups"] == ["trainer.kubeflow.org"]]
    assert rule["resources"] == ["trainjobs"]
    assert {"create", "get", "delete"} <= set(rule["verbs"])


if __name__ == "__main__":
    GOLDEN.write_text(yaml.dump(json.loads(json.dumps(reviewed()))), encoding="utf-8")
