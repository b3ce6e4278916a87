"""The InferenceService: what KServe would run is our server, restricted, and stops in order."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from regraft.cli.serve import serve
from regraft.recipe.serving import ServingOptions
from tests.infra.rendered import INFRA, KUBECTL, manifests


@pytest.fixture(scope="module")
def service() -> dict[str, Any]:
    """Rendered where kubectl is, else the file itself."""
    if KUBECTL is None:
        text = (INFRA / "serving" / "inference_service.yaml").read_text(encoding="utf-8")
        return dict(yaml.safe_load(text))
    (found,) = [m for m in manifests("serving") if m["kind"] == "InferenceService"]
    assert found["metadata"]["namespace"] == "regraft"
    return found


@pytest.fixture
def container(service: dict[str, Any]) -> dict[str, Any]:
    (found,) = service["spec"]["predictor"]["containers"]
    assert found["name"] == "kserve-container", "KServe looks for this name"
    return dict(found)


def test_the_pod_is_restricted(service: dict[str, Any], container: dict[str, Any]) -> None:
    pod, context = service["spec"]["predictor"], container["securityContext"]
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert pod["automountServiceAccountToken"] is False
    assert context["allowPrivilegeEscalation"] is False
    assert context["readOnlyRootFilesystem"] is True
    assert context["capabilities"] == {"drop": ["ALL"]}
    assert {kind for volume in pod["volumes"] for kind in volume if kind != "name"} <= {
        "emptyDir",
        "persistentVolumeClaim",
    }
    assert set(container["resources"]["limits"]) == {"cpu", "memory"}


def test_the_image_has_a_version_and_is_set_in_one_place(container: dict[str, Any]) -> None:
    name, _, tag = container["image"].rpartition(":")
    assert tag and tag != "latest"
    path = INFRA / "serving" / "kustomization.yaml"
    (image,) = yaml.safe_load(path.read_text(encoding="utf-8"))["images"]
    assert name in {image["name"], image.get("newName")} and tag == image["newTag"]


def test_the_arguments_are_those_of_the_command(container: dict[str, Any]) -> None:
    verb, *arguments = container["args"]
    assert verb == "serve"
    context = serve.make_context("serve", list(arguments))
    assert context.params["name"] == "plant_disease"
    assert context.params["host"] == "0.0.0.0"
    port = context.params["port"]
    assert port == container["ports"][0]["containerPort"]
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        assert container[probe]["httpGet"]["port"] == port
    assert container["readinessProbe"]["httpGet"]["path"] == "/readyz"
    assert CliRunner().invoke(serve, ["--help"]).exit_code == 0


def test_no_token_is_written_down(container: dict[str, Any]) -> None:
    variables = {variable["name"]: variable for variable in container["env"]}
    named = serve.make_context("serve", container["args"][1:]).params["token_env"]
    for name in (named, "MLFLOW_TRACKING_PASSWORD"):
        assert "secretKeyRef" in variables[name]["valueFrom"]
    docs = (INFRA.parent / "docs" / "cluster.md").read_text(encoding="utf-8")
    assert "create secret generic serve-token --from-literal=token=" in docs


def test_there_is_time_to_drain(service: dict[str, Any], container: dict[str, Any]) -> None:
    before = int(container["lifecycle"]["preStop"]["exec"]["command"][-1])
    grace = service["spec"]["predictor"]["terminationGracePeriodSeconds"]
    assert grace > before + 2 * ServingOptions().drain_seconds


def test_prometheus_and_mlflow_know_the_pod(service: dict[str, Any]) -> None:
    labels = service["spec"]["predictor"]["labels"]
    monitor = Path(INFRA / "observability" / "service_monitor.yaml").read_text(encoding="utf-8")
    selector = next(iter(yaml.safe_load_all(monitor)))["spec"]["selector"]
    assert selector.items() <= labels.items()
    assert labels["regraft.dev/uses-mlflow"] == "true"
