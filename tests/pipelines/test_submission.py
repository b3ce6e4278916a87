"""Sent to a cluster that speaks HTTP: what arrives, and what is told when it cannot."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipelines.profile import ClusterProfile
from pipelines.submission import recent_runs, submit_training
from regraft.cli.main import main
from regraft.errors import UserError
from regraft.recipe import Recipe, load_recipe
from tests.pipelines.fake_cluster import FakeCluster, serving

EVERYTHING = {
    "secrets/mlflow-client": ["username", "password"],
    "secrets/pull": [".dockerconfigjson"],
    "persistentvolumeclaims/data": [],
    "serviceaccounts/runner": [],
}


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeCluster]:
    for name in ("KFP_TOKEN", "KFP_HOST", "KF_PIPELINES_ENDPOINT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("KF_PIPELINES_SA_TOKEN_PATH", str(tmp_path / "no-token"))
    with serving(FakeCluster(objects=dict(EVERYTHING))) as running:
        kube = tmp_path / "kubeconfig"
        kube.write_text(yaml.safe_dump({
            "apiVersion": "v1", "kind": "Config", "current-context": "c",
            "clusters": [{"name": "c", "cluster": {"server": running.url}}],
            "users": [{"name": "u", "user": {}}],
            "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
        }))  # fmt: skip
        monkeypatch.setattr("kubernetes.config.kube_config.KUBE_CONFIG_DEFAULT_LOCATION", str(kube))
        yield running


@pytest.fixture
def recipe(tmp_path: Path) -> Recipe:
    path = tmp_path / "leaves.yaml"
    path.write_text("name: leaves\ndata: {root: /data/leaves}\n")
    return load_recipe(path)


def profile(cluster: FakeCluster, **more: Any) -> ClusterProfile:
    return ClusterProfile.model_validate(
        {
            "namespace": "team",
            "host": cluster.url,
            "image": {"name": "registry.example.org/steps", "tag": "1"},
            "image_pull_secrets": ["pull"],
            "service_account": "runner",
            "secrets": [{"secret": "mlflow-client", "keys": {"username": "U", "password": "P"}}],
            "volumes": [{"claim": "data", "mount_path": "/data"}],
            **more,
        }
    )


def test_what_arrives_is_the_recipe_with_the_settings_of_the_cluster(
    cluster: FakeCluster, recipe: Recipe
) -> None:
    started = submit_training(recipe, profile(cluster), data_version="v7")
    (run,) = cluster.runs
    assert started["run_id"] == run["run_id"]
    assert started["url"] == f"{cluster.url}/#/runs/details/r0"
    (experiment,) = cluster.experiments
    assert (experiment["display_name"], experiment["namespace"]) == ("leaves", "team")
    assert run["experiment_id"] == experiment["experiment_id"]
    assert run["service_account"] == "runner"
    sent = run["runtime_config"]["parameters"]
    assert sent["data"]["root"] == "/data/leaves"
    assert sent["data_version"] == "v7"
    spec = run["pipeline_spec"]
    assert spec["pipeline_spec"]["pipelineInfo"]["name"] == "regraft-training"
    executors = spec["platform_spec"]["platforms"]["kubernetes"]["deploymentSpec"]["executors"]
    assert executors["exec-registration"]["secretAsEnv"][0]["secretName"] == "mlflow-client"


def test_a_recipe_without_a_student_is_the_other_pipeline(
    cluster: FakeCluster, tmp_path: Path
) -> None:
    path = tmp_path / "one.yaml"
    path.write_text(
        "name: one\nserve: teacher\ndata: {root: /data/x}\ndistillation: {enabled: false}\n"
    )
    submit_training(load_recipe(path), profile(cluster))
    name = cluster.runs[0]["pipeline_spec"]["pipeline_spec"]["pipelineInfo"]["name"]
    assert name == "regraft-training-without-student"


def test_data_that_this_machine_cannot_see_are_never_taken_from_a_cache(
    cluster: FakeCluster, recipe: Recipe, capfd: pytest.CaptureFixture[str]
) -> None:
    submit_training(recipe, profile(cluster))
    version = cluster.runs[0]["runtime_config"]["parameters"]["data_version"]
    assert version.startswith("submitted 2")
    out, err = capfd.readouterr()
    assert "--data-version" in out + err


def test_an_installation_with_one_namespace_is_not_sent_another(
    cluster: FakeCluster, recipe: Recipe
) -> None:
    cluster.multi_user = False
    submit_training(recipe, profile(cluster), data_version="v")
    assert not cluster.experiments[0].get("namespace")
    assert not cluster.runs[0].get("service_account")


def test_runs_are_listed_newest_first(cluster: FakeCluster, recipe: Recipe) -> None:
    assert recent_runs(profile(cluster)) == []
    for _ in range(3):
        submit_training(recipe, profile(cluster), data_version="v")
    cluster.runs[1] |= {"state": "FAILED", "error": {"code": 2, "message": "step died\nmore"}}
    found = recent_runs(profile(cluster), limit=2)
    assert [(run["run_id"], run["state"]) for run in found] == [("r2", "pending"), ("r1", "failed")]
    assert found[1]["error"] == "step died"


def test_the_token_of_the_environment_and_of_the_pod(
    cluster: FakeCluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster.token = "right"
    monkeypatch.setenv("KFP_TOKEN", "right")
    assert recent_runs(profile(cluster)) == []
    monkeypatch.delenv("KFP_TOKEN")
    (tmp_path / "no-token").write_text("right\n")
    assert recent_runs(profile(cluster)) == []


@pytest.mark.parametrize("token", ["", "wrong"])
def test_a_refused_token(
    token: str, cluster: FakeCluster, recipe: Recipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster.token = "right"
    monkeypatch.setenv("KFP_TOKEN", token)
    refused(cluster, recipe, ["refuses the token", "401", "KFP_TOKEN", "kubectl create token"])


def test_a_wrong_namespace(cluster: FakeCluster, recipe: Recipe) -> None:
    words = ["namespace other", "not authorized", "namespace in the profile"]
    refused(cluster, recipe, words, looked_up=False, namespace="other")


def test_an_unreachable_host(cluster: FakeCluster, recipe: Recipe) -> None:
    with socket.socket() as bound:  # a port on which nobody listens
        bound.bind(("127.0.0.1", 0))
        host = f"http://127.0.0.1:{bound.getsockname()[1]}"
        refused(cluster, recipe, ["does not answer", host, "port-forward"], host=host)


def test_something_else_at_the_address(cluster: FakeCluster, recipe: Recipe) -> None:
    host = f"{cluster.url}/dashboard"
    refused(cluster, recipe, ["not the API", "404", "/pipeline"], host=host)


def test_no_address(cluster: FakeCluster, recipe: Recipe) -> None:
    refused(cluster, recipe, ["no address", "KFP_HOST"], host="")


def test_an_argument_that_the_pipeline_does_not_take(
    cluster: FakeCluster, recipe: Recipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    import pipelines.arguments as arguments

    before = arguments.training_arguments
    monkeypatch.setattr(
        arguments, "training_arguments", lambda *a, **k: {**before(*a, **k), "sede": 1}
    )
    refused(cluster, recipe, ["sede is unknown", "did you mean seed"])


def test_a_path_of_this_machine(cluster: FakeCluster, tmp_path: Path) -> None:
    path = tmp_path / "here.yaml"
    path.write_text(f"name: here\ndata: {{root: {tmp_path}}}\n")
    refused(cluster, load_recipe(path), ["no step on the cluster", "under /data"])


@pytest.mark.parametrize(
    ("gone", "word"),
    [
        ("secrets/mlflow-client", "Secret mlflow-client"),
        ("secrets/pull", "Secret pull"),
        ("persistentvolumeclaims/data", "PersistentVolumeClaim data"),
        ("serviceaccounts/runner", "ServiceAccount runner"),
    ],
)
def test_what_is_missing_in_the_namespace(
    gone: str, word: str, cluster: FakeCluster, recipe: Recipe
) -> None:
    del cluster.objects[gone]
    refused(cluster, recipe, ["namespace team lacks", word, "docs/cluster.md"])


def test_where_kubernetes_does_not_let_us_look_it_is_said(
    cluster: FakeCluster, recipe: Recipe, capfd: pytest.CaptureFixture[str]
) -> None:
    cluster.objects.clear()
    cluster.may_look = False
    submit_training(recipe, profile(cluster), data_version="v")
    assert "were not looked up: the cluster answers 403" in capfd.readouterr().err
    assert len(cluster.runs) == 1


def test_a_missing_key(cluster: FakeCluster, recipe: Recipe) -> None:
    cluster.objects["secrets/mlflow-client"] = ["username"]
    refused(cluster, recipe, ["key password of Secret mlflow-client"])


def refused(
    cluster: FakeCluster, recipe: Recipe, words: list[str], *, looked_up: bool = True, **more: Any
) -> None:
    """Submitting ends with one message that has all `words`, and nothing arrives."""
    with pytest.raises(UserError) as caught:
        submit_training(recipe, profile(cluster, **more), data_version="v", looked_up=looked_up)
    for word in words:
        assert word in str(caught.value), caught.value
    assert cluster.runs == []


def test_the_command_line(
    cluster: FakeCluster,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def regraft(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.argv", ["regraft", *arguments])
        try:
            main()
        except SystemExit as end:
            code = int(end.code or 0)
        else:
            code = 0
        shown = capsys.readouterr()
        return code, shown.out, shown.err

    recipe, settings = tmp_path / "leaves.yaml", tmp_path / "profile.yaml"
    recipe.write_text("name: leaves\ndata: {root: photos}\n")
    settings.write_text(profile(cluster).model_dump_json())  # JSON is YAML
    where = ["--profile", str(settings)]
    code, out, err = regraft("submit", str(recipe), "data.root=/data/leaves", *where, "--json")
    assert code == 0, err
    assert json.loads(out)["experiment"] == "leaves"
    code, out, err = regraft("runs", *where)
    assert (code, out.count("\n")) == (0, 1), err
    assert "pending" in out
    code, out, err = regraft("submit", str(recipe), *where)
    assert (code, out) == (2, "")
    assert "under /data" in err
