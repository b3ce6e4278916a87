"""The network policies: what has to talk can, and the rest cannot."""

from __future__ import annotations

from typing import Any

import pytest

from tests.infra.rendered import manifests, needs_kubectl, pods

pytestmark = needs_kubectl

STEP = {"pipelines.kubeflow.org/v2_component": "true", "pipeline/runid": "7"}
SERVER = {"regraft.dev/uses-mlflow": "true", "regraft.dev/serves-model": "true"}


def labels(name: str) -> dict[str, str]:
    made_elsewhere = {"step": STEP, "server": SERVER, "stranger": {}}
    if name in made_elsewhere:
        return made_elsewhere[name]
    all_pods = [*pods("overlays/cluster"), *pods("restore")]
    found: dict[str, str] = dict(all_pods)[name]["metadata"]["labels"]
    return found


def selects(selector: dict[str, Any], pod: dict[str, str]) -> bool:
    expressions = selector.get("matchExpressions", [])
    assert all(expression["operator"] == "Exists" for expression in expressions)
    return selector.get("matchLabels", {}).items() <= pod.items() and all(
        expression["key"] in pod for expression in expressions
    )


def allowed(pod: dict[str, str], other: dict[str, str], port: int, direction: str) -> bool:
    """Does a policy of `pod` let it talk with `other`, a pod of the same namespace?"""
    key, peers = ("Egress", "to") if direction == "out" else ("Ingress", "from")
    policies = [m["spec"] for m in manifests("overlays/cluster") if m["kind"] == "NetworkPolicy"]
    rules = [
        rule
        for spec in policies
        if key in spec["policyTypes"] and selects(spec["podSelector"], pod)
        for rule in spec.get(key.lower(), [])
    ]
    return any(
        ("ports" not in rule or port in {entry["port"] for entry in rule["ports"]})
        and (peers not in rule or any(_is_peer(peer, other) for peer in rule[peers]))
        for rule in rules
    )


def _is_peer(peer: dict[str, Any], other: dict[str, str]) -> bool:
    return "namespaceSelector" not in peer and selects(peer["podSelector"], other)


def connects(source: str, target: str, port: int) -> bool:
    here, there = labels(source), labels(target)
    return allowed(here, there, port, "out") and allowed(there, here, port, "in")


@pytest.mark.parametrize(
    ("source", "target", "port"),
    [
        ("mlflow", "postgres", 5432),
        ("mlflow", "object-store", 9000),
        ("object-store-setup", "object-store", 9000),
        ("registry-backup", "postgres", 5432),
        ("registry-backup", "object-store", 9000),
        ("registry-restore", "postgres", 5432),
        ("registry-restore", "object-store", 9000),
        ("step", "mlflow", 5000),
        ("server", "mlflow", 5000),
    ],
)
def test_what_has_to_talk_can(source: str, target: str, port: int) -> None:
    assert connects(source, target, port)


@pytest.mark.parametrize(
    ("source", "target", "port"),
    [
        ("stranger", "mlflow", 5000),
        ("stranger", "postgres", 5432),
        ("stranger", "object-store", 9000),
        ("step", "postgres", 5432),
        ("step", "object-store", 9000),
        ("server", "postgres", 5432),
        ("object-store-setup", "postgres", 5432),
        ("registry-backup", "mlflow", 5000),
        ("postgres", "mlflow", 5000),
        ("mlflow", "object-store", 9001),
        ("mlflow", "postgres", 22),
    ],
)
def test_the_rest_cannot(source: str, target: str, port: int) -> None:
    assert not connects(source, target, port)


def test_everything_is_denied_that_no_policy_allows() -> None:
    policies = {m["metadata"]["name"]: m["spec"] for m in manifests("overlays/cluster")
                if m["kind"] == "NetworkPolicy"}  # fmt: skip
    assert policies["deny-all"] == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
