"""What a run needs in the namespace, looked up before it is sent: Secrets, their keys, claims.

A pod whose Secret is missing waits without an end in CreateContainerConfigError, and Kubeflow shows
only that the step is pending.
"""

from __future__ import annotations

from typing import Any

from pipelines.profile import ClusterProfile
from regraft.errors import UserError
from regraft.progress import note


def check_namespace(profile: ClusterProfile) -> bool:
    """Look up what the profile names; False where the cluster does not let us look.

    Uses the current context of kubectl, or the service account inside a cluster. Values of Secrets
    are not kept. Raises `UserError` with every Secret, key, claim and account that is missing.
    """
    api = _api()
    if api is None:
        note("secrets and volumes were not looked up: kubectl has no context for this cluster")
        return False
    from kubernetes.client import ApiException
    from urllib3.exceptions import HTTPError

    try:
        missing = _missing(api, profile)
    except ApiException as error:
        note(f"secrets and volumes were not looked up: the cluster answers {error.status}")
        return False
    except HTTPError as error:
        note(f"secrets and volumes were not looked up: {type(error).__name__}")
        return False
    if missing:
        raise UserError(
            f"namespace {profile.namespace} lacks what the profile names",
            where="the cluster profile",
            got="missing: " + ", ".join(missing),
            fix="create them (docs/cluster.md, steps 4 and 5) or correct the profile; --no-lookup "
            "where kubectl's context is another cluster. Nothing was sent",
        )
    return True


def _api() -> Any:
    """Kubernetes as kubectl sees it; None where there is no configuration."""
    from kubernetes import client, config

    try:
        config.load_kube_config()
    except config.ConfigException:
        try:
            config.load_incluster_config()
        except config.ConfigException:
            return None
    settings = client.Configuration.get_default_copy()
    settings.retries = False
    return client.CoreV1Api(client.ApiClient(settings))


def _missing(api: Any, profile: ClusterProfile) -> list[str]:
    space, missing = profile.namespace, []
    for group in profile.secrets:
        keys = _keys(api.read_namespaced_secret, group.secret, space)
        if keys is None:
            missing.append(f"Secret {group.secret}")
        else:
            missing += [f"key {key} of Secret {group.secret}" for key in group.keys
                        if key not in keys]  # fmt: skip
    names = [
        *(("Secret", name, api.read_namespaced_secret) for name in profile.image_pull_secrets),
        *(
            ("PersistentVolumeClaim", volume.claim, api.read_namespaced_persistent_volume_claim)
            for volume in profile.volumes
        ),
        ("ServiceAccount", profile.service_account, api.read_namespaced_service_account),
    ]
    return missing + [
        f"{kind} {name}" for kind, name, read in names if _keys(read, name, space) is None
    ]


def _keys(read: Any, name: str, namespace: str) -> set[str] | None:
    """Names of the keys of what `read` finds; None where there is no such thing."""
    from kubernetes.client import ApiException

    try:
        found = read(name, namespace, _request_timeout=5)
    except ApiException as error:
        if error.status == 404:
            return None
        raise
    return set(getattr(found, "data", None) or {})
