"""The overlays, rendered: valid, restricted, without secrets, and every service finds its pods."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from tests.infra.pod_security import violations
from tests.infra.rendered import (
    INFRA,
    ROOTS,
    containers,
    manifests,
    needs_kubectl,
    pod,
    pods,
)
from tests.infra.schema import is_custom, problems

pytestmark = needs_kubectl
each_root = pytest.mark.parametrize("root", ROOTS)
DOCS = INFRA.parent / "docs" / "cluster.md"


@pytest.mark.parametrize("root", [*ROOTS, "serving"])
def test_the_api_would_take_every_manifest(root: str) -> None:
    for manifest in manifests(root):
        name = f"{manifest['kind']} {manifest['metadata']['name']}"
        if not is_custom(manifest):
            assert problems(manifest) == [], name
        if manifest["kind"] != "Namespace":
            assert manifest["metadata"]["namespace"] == "regraft", name
        assert manifest["metadata"]["labels"]["app.kubernetes.io/part-of"] == "regraft", name


def test_the_check_finds_what_is_wrong() -> None:
    right: dict[str, Any] = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "x"},
        "spec": {
            "selector": {},
            "template": {"spec": {"containers": [{"name": "a", "ports": [{"containerPort": 1}]}]}},
        },
    }
    assert problems(right) == []
    wrong = json.loads(json.dumps(right))
    wrong["spec"]["replica"] = 1
    assert "replica" in " ".join(problems(wrong))
    wrong = json.loads(json.dumps(right))
    wrong["spec"]["template"]["spec"]["containers"][0]["ports"][0]["containerPort"] = "1"
    assert "containerPort: '1' is not of type 'integer'" in " ".join(problems(wrong))
    wrong = json.loads(json.dumps(right))
    del wrong["spec"]["selector"]
    assert "selector" in " ".join(problems(wrong))
    assert "knows no v1 Podd" in " ".join(
        problems({"apiVersion": "v1", "kind": "Podd", "metadata": {}})
    )


@each_root
def test_every_pod_is_restricted(root: str) -> None:
    """Pod security standard "restricted", a read-only root file system and bounds on top."""
    assert pods(root)
    for name, template in pods(root):
        spec = template["spec"]
        assert violations(spec) == [], name
        assert spec["automountServiceAccountToken"] is False, name
        for container in containers(template):
            _restricted(container, f"{name}/{container['name']}")


def _restricted(container: dict[str, Any], where: str) -> None:
    context = container["securityContext"]
    assert context["readOnlyRootFilesystem"] is True, where
    for kind in ("requests", "limits"):
        assert set(container["resources"][kind]) == {"cpu", "memory"}, where
    mounts = {mount["mountPath"] for mount in container["volumeMounts"]}
    assert "/tmp" in mounts, f"{where} has nowhere to write"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"hostNetwork": True}, "hostNetwork"),
        ({"volumes": [{"name": "v", "hostPath": {"path": "/"}}]}, "v is a hostPath"),
        ({"securityContext": {"runAsUser": 0}}, "runAsUser is 0"),
        ({"containers": [{"name": "a"}]}, "a: capabilities are not dropped"),
        ({"initContainers": [{"name": "b"}]}, "b: allowPrivilegeEscalation"),
    ],
)
def test_the_standard_refuses_what_is_less(change: dict[str, Any], words: str) -> None:
    spec = dict(dict(pods("overlays/local"))["mlflow"]["spec"])
    assert words in " ".join(violations(spec | change))


@each_root
def test_images_have_a_version(root: str) -> None:
    for name, template in pods(root):
        for container in containers(template):
            image = container["image"]
            tag = image.rsplit("/", 1)[-1].partition(":")[2]
            assert "@sha256:" in image or (tag and tag != "latest"), f"{name}: {image}"


@each_root
def test_long_running_containers_say_how_they_are(root: str) -> None:
    for manifest in manifests(root):
        if manifest["kind"] in {"Deployment", "StatefulSet"}:
            for container in pod(manifest)["spec"]["containers"]:  # type: ignore[index]
                assert {"startupProbe", "readinessProbe", "livenessProbe"} <= set(container)


@each_root
def test_secrets_are_only_named(root: str) -> None:
    assert not [m for m in manifests(root) if m["kind"] == "Secret"]
    for name, template in pods(root):
        for container in containers(template):
            for variable in container.get("env", []):
                value = re.sub(r"\$\(\w+\)", "", variable.get("value", ""))
                assert not re.search(r"://[^/]*[^:/]:[^@/]+@", value), f"{name} {variable}"
                if re.search("PASSWORD|SECRET|KEY", variable["name"]):
                    assert "secretKeyRef" in variable.get("valueFrom", {}), f"{name} {variable}"


@pytest.mark.parametrize("root", [*ROOTS, "serving"])
def test_every_secret_is_in_the_docs(root: str) -> None:
    text = DOCS.read_text(encoding="utf-8")
    references = [found for manifest in manifests(root) for found in secret_references(manifest)]
    assert references
    for name, key in references:
        command = text.partition(f"create secret generic {name} ")[2].partition("create secret")[0]
        assert f"--from-literal={key}=" in command, (name, key)


def secret_references(node: Any) -> list[tuple[str, str]]:
    """Name and key of every Secret that a manifest names, wherever it does."""
    if isinstance(node, list):
        return [found for child in node for found in secret_references(child)]
    if not isinstance(node, dict):
        return []
    own = [node[kind] for kind in ("secretKeyRef", "credentials") if kind in node]
    below = [found for child in node.values() for found in secret_references(child)]
    return [(reference["name"], reference["key"]) for reference in own] + below


@each_root
def test_every_service_and_budget_finds_its_pods(root: str) -> None:
    labels = [template["metadata"]["labels"] for _, template in pods(root)]
    for manifest in manifests(root):
        name = manifest["metadata"]["name"]
        if manifest["kind"] == "Service" and name != "regraft-metrics":  # models come and go
            wanted = manifest["spec"]["selector"]
        elif manifest["kind"] == "PodDisruptionBudget":
            wanted = manifest["spec"]["selector"]["matchLabels"]
        else:
            continue
        assert any(wanted.items() <= own.items() for own in labels), name


def test_the_namespace_enforces_what_the_manifests_keep() -> None:
    (namespace,) = [m for m in manifests("overlays/cluster") if m["kind"] == "Namespace"]
    assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"


def test_the_registry_is_backed_up_every_night() -> None:
    (job,) = [m for m in manifests("overlays/cluster") if m["kind"] == "CronJob"]
    assert len(job["spec"]["schedule"].split()) == 5
    assert job["spec"]["concurrencyPolicy"] == "Forbid"


def test_dashboard_and_alerts_ask_for_metrics_that_exist() -> None:
    sources = INFRA.parent / "regraft" / "serving"
    code = "".join(path.read_text() for path in sources.glob("*.py"))
    dashboard = (INFRA / "observability" / "dashboard.json").read_text()
    assert json.loads(dashboard)["panels"]
    asked = re.findall(
        r"regraft_[a-z_]+", dashboard + (INFRA / "observability" / "alerts.yaml").read_text()
    )
    assert len(set(asked)) >= 8
    for name in set(asked):
        assert f'"{re.sub("_(bucket|sum|count)$", "", name)}"' in code, name
