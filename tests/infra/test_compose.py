"""compose.yaml: the same services on one machine, as closed as on a cluster."""

from __future__ import annotations

import re
from typing import Any

import pytest
import yaml

from tests.infra.rendered import INFRA, containers, needs_kubectl, pods

CONTENT = yaml.safe_load((INFRA / "compose.yaml").read_text(encoding="utf-8"))
SERVICES: dict[str, dict[str, Any]] = CONTENT["services"]


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_is_hardened(name: str) -> None:
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert "memory" in service["deploy"]["resources"]["limits"]
    assert not service.get("privileged")
    tag = service["image"].rpartition(":")[2]
    assert tag and tag != "latest"


@pytest.mark.parametrize("name", SERVICES)
def test_a_password_comes_from_outside_and_may_not_be_missing(name: str) -> None:
    for key, value in SERVICES[name].get("environment", {}).items():
        if re.search("PASSWORD|SECRET|TOKEN|_KEY$|MC_HOST", key):
            assert re.search(r"\$\{\w+:\?", value), f"{key} is written down or may be empty"


def test_nothing_listens_to_other_machines() -> None:
    ports = [port for service in SERVICES.values() for port in service.get("ports", [])]
    assert ports
    assert all(port.startswith("127.0.0.1:") for port in ports)
    assert CONTENT["networks"]["inside"] == {"internal": True}


def test_every_variable_is_in_the_docs() -> None:
    text = (INFRA / "compose.yaml").read_text(encoding="utf-8")
    docs = (INFRA.parent / "docs" / "cluster.md").read_text(encoding="utf-8")
    for variable in set(re.findall(r"\$\{(\w+):\?", text)):
        assert variable in docs, variable


def test_mounted_files_exist() -> None:
    for service in SERVICES.values():
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            if source.startswith("./"):
                assert (INFRA / source).is_file(), source


@needs_kubectl
def test_images_and_arguments_are_those_of_the_cluster() -> None:
    rendered = {name: containers(template) for name, template in pods("overlays/local")}
    for name in ("postgres", "object-store", "object-store-setup", "mlflow"):
        (container,) = rendered[name]
        assert SERVICES[name]["image"] == container["image"]
        if "args" in container:
            command = [*container.get("command", []), *container["args"]]
            assert SERVICES[name]["command"] == command
