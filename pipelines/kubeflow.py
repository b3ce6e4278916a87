"""A client of Kubeflow Pipelines whose failures say what to do."""

from __future__ import annotations

import contextlib
import io
import json
import os
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pipelines.profile import ClusterProfile
from regraft.errors import UserError
from regraft.progress import note

_INSIDE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")
_INSIDE_HOST = "http://ml-pipeline.kubeflow.svc.cluster.local:8888"
_TOKEN_FILE = "/var/run/secrets/kubeflow/pipelines/token"
_SECONDS_TO_ANSWER = 5.0


class Kubeflow:
    """A connection that was tried: `client` is kfp's, `namespace` is None where the installation
    has only one."""

    def __init__(self, profile: ClusterProfile) -> None:
        """Connect to the host of the profile, `KFP_HOST`, or the service inside the cluster.

        The token is `KFP_TOKEN`, or inside a cluster the projected one of the service account
        (KF_PIPELINES_SA_TOKEN_PATH), which is read anew for every call. Raises `UserError` when
        there is no address, nobody answers, or the token is refused.
        """
        self.host = host_of(profile)
        health = _ask_health(self.host)
        self.namespace: str | None = profile.namespace
        if not health.get("multi_user"):
            self.namespace = None
            note(f"{self.host} has one namespace for all runs: {profile.namespace} of the profile "
                 "is not sent")  # fmt: skip
        self.client = self._make_client()

    def _make_client(self) -> Any:
        import kfp

        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # "works only with Kubeflow 2": yes
            return kfp.Client(
                host=self.host,
                namespace=self.namespace or "kubeflow",
                existing_token=os.environ.get("KFP_TOKEN") or None,
                credentials=_credentials(),
            )

    @contextlib.contextmanager
    def calls(self) -> Iterator[None]:
        """Round calls of `client`: its links are not printed, its failures are explained."""
        from kfp_server_api import ApiException
        from urllib3.exceptions import HTTPError

        try:
            with contextlib.redirect_stdout(io.StringIO()):
                yield
        except ApiException as error:
            raise refused(self.host, int(error.status), str(error.body), self.namespace) from error
        except (HTTPError, OSError) as error:
            raise unreachable(self.host, error) from error


def host_of(profile: ClusterProfile) -> str:
    """Where Kubeflow is asked. Raises `UserError` when nobody says."""
    host = profile.host or os.environ.get("KFP_HOST", "")
    if not host and _INSIDE.is_file():
        host = _INSIDE_HOST
    if not host:
        raise UserError(
            "there is no address of Kubeflow Pipelines",
            where="host of the profile, or KFP_HOST",
            expected="for example http://localhost:8888",
            fix="kubectl -n kubeflow port-forward service/ml-pipeline 8888, then "
            "KFP_HOST=http://localhost:8888",
        )
    if not host.startswith(("http://", "https://")):
        raise UserError(
            "the address of Kubeflow Pipelines needs http:// or https://",
            where="KFP_HOST",
            got=host,
        )
    return host.rstrip("/")


def _credentials() -> Any:
    """The service account's token inside a cluster; None elsewhere."""
    path = os.environ.get("KF_PIPELINES_SA_TOKEN_PATH", _TOKEN_FILE)
    if os.environ.get("KFP_TOKEN") or not Path(path).is_file():
        return None
    from kfp.client import ServiceAccountTokenVolumeCredentials

    return ServiceAccountTokenVolumeCredentials(path=path)


def _ask_health(host: str) -> dict[str, Any]:
    """One question with a short timeout, because the client retries for long."""
    import requests  # type: ignore[import-untyped]

    token = os.environ.get("KFP_TOKEN", "")
    path = Path(os.environ.get("KF_PIPELINES_SA_TOKEN_PATH", _TOKEN_FILE))
    if not token and path.is_file():
        token = path.read_text(encoding="utf-8").strip()
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    try:
        answer = requests.get(
            f"{host}/apis/v2beta1/healthz", headers=headers, timeout=_SECONDS_TO_ANSWER,
            allow_redirects=False,
        )  # fmt: skip
    except requests.RequestException as error:
        raise unreachable(host, error) from error
    if answer.status_code != 200:
        raise refused(host, answer.status_code, answer.text, None)
    try:
        found: dict[str, Any] = answer.json()
    except ValueError as error:
        raise _no_kubeflow(host, "no JSON") from error
    return found


def unreachable(host: str, error: Exception) -> UserError:
    """Nobody answers at the address."""
    return UserError(
        "Kubeflow Pipelines does not answer",
        where=host,
        got=type(error).__name__,
        expected=f"an answer within {_SECONDS_TO_ANSWER:g} s",
        fix="check host in the profile and the port-forward: "
        "kubectl -n kubeflow get pods; kubectl -n kubeflow port-forward service/ml-pipeline 8888",
    )


def refused(host: str, status: int, body: str, namespace: str | None) -> UserError:
    """What the API's refusal means, with its own words."""
    said = _words(body)
    if status in {301, 302, 303, 307, 401}:
        return UserError(
            "Kubeflow Pipelines refuses the token",
            where=host,
            got=f"{status} {said}",
            fix="set KFP_TOKEN to a token of a user of this cluster (kubectl create token "
            "ACCOUNT --audience pipelines.kubeflow.org); inside the cluster mount a projected "
            "token and name it in KF_PIPELINES_SA_TOKEN_PATH",
        )
    if status == 403 or "namespace" in said.lower():
        return UserError(
            "Kubeflow Pipelines does not let you work in this namespace",
            where=f"{host}, namespace {namespace}" if namespace else host,
            got=f"{status} {said}",
            fix="check namespace in the profile (kubectl get profiles) and that the token's user "
            "may create runs there (role kubeflow-edit)",
        )
    if status == 404:
        return _no_kubeflow(host, f"404 {said}")
    return UserError(
        "Kubeflow Pipelines refuses the request",
        where=host,
        got=f"{status} {said}",
        fix="kubectl -n kubeflow logs deployment/ml-pipeline",
    )


def _no_kubeflow(host: str, got: str) -> UserError:
    return UserError(
        "this is not the API of Kubeflow Pipelines",
        where=host,
        got=got,
        expected="version 2.17 or newer at /apis/v2beta1",
        fix="behind Kubeflow's dashboard the address ends with /pipeline",
    )


def _words(body: str) -> str:
    """The message in an error's JSON body, else the beginning of the body."""
    try:
        content = json.loads(body)
        found = content.get("error") or content.get("message") or body
    except (ValueError, AttributeError):
        found = body
    return str(found).strip().splitlines()[0][:300] if str(found).strip() else ""
