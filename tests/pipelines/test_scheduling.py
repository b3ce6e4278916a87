"""One recurring run per recipe, whatever was there before; nothing is sent that is wrong."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pipelines.profile import ClusterProfile
from pipelines.scheduling import schedule_monitoring
from regraft.cli.main import main
from regraft.errors import UserError
from regraft.recipe import Recipe, load_recipe
from tests.pipelines.fake_cluster import serving
from tests.pipelines.fake_kubeflow import FakeKubeflow

HOURLY, DAILY = "0 0 * * * *", "0 30 2 * * *"


@pytest.fixture
def kubeflow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeKubeflow]:
    for name in ("KFP_TOKEN", "KFP_HOST", "KF_PIPELINES_ENDPOINT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("KF_PIPELINES_SA_TOKEN_PATH", str(tmp_path / "no-token"))
    with serving(FakeKubeflow()) as running:
        assert isinstance(running, FakeKubeflow)
        yield running


@pytest.fixture
def recipe(tmp_path: Path) -> Recipe:
    return recipe_of(tmp_path, "leaves")


def recipe_of(folder: Path, name: str, *overrides: str) -> Recipe:
    path = folder / f"{name}.yaml"
    path.write_text(f"name: {name}\ndata: {{root: /data/leaves}}\n")
    return load_recipe(path, list(overrides))


def profile(kubeflow: FakeKubeflow, **more: Any) -> ClusterProfile:
    return ClusterProfile.model_validate(
        {"namespace": "team", "host": kubeflow.url,
         "image": {"name": "registry.example.org/steps", "tag": "1"},
         "service_account": "runner", "volumes": [{"claim": "data", "mount_path": "/data"}],
         **more}
    )  # fmt: skip


def scheduled(kubeflow: FakeKubeflow, recipe: Recipe, cron: str = HOURLY, **more: Any) -> str:
    found = schedule_monitoring(recipe, cron, profile(kubeflow, **more), looked_up=False)
    assert found["recurring_run_id"] in [run["recurring_run_id"] for run in kubeflow.recurring]
    outcome: str = found["outcome"]
    return outcome


def test_the_first_time_everything_is_made(kubeflow: FakeKubeflow, recipe: Recipe) -> None:
    assert scheduled(kubeflow, recipe) == "created"
    (run,) = kubeflow.recurring
    assert run["display_name"] == "leaves drift check"
    assert run["trigger"]["cron_schedule"]["cron"] == HOURLY
    assert int(run["max_concurrency"]) == 1
    assert run["no_catchup"] is True
    assert run["mode"] == "ENABLE"
    assert run["service_account"] == "runner"
    assert "pipeline_version_id" not in run["pipeline_version_reference"], "the latest one"
    sent = run["runtime_config"]["parameters"]
    assert sent["recipe"]["data"]["root"] == "/data/leaves"
    assert sent["retrain"] is True
    (pipeline,) = kubeflow.pipelines
    assert pipeline["display_name"] == "regraft-monitoring"
    assert pipeline["namespace"] == "team"
    (package,) = kubeflow.packages.values()
    assert package["pipelineInfo"]["name"] == "regraft-monitoring"
    taken = package["root"]["inputDefinitions"]["parameters"]
    assert set(sent) == set(taken)


def test_the_same_again_changes_nothing(kubeflow: FakeKubeflow, recipe: Recipe) -> None:
    scheduled(kubeflow, recipe)
    before = [dict(run) for run in kubeflow.recurring]
    kubeflow.calls.clear()
    assert scheduled(kubeflow, recipe) == "unchanged"
    assert kubeflow.recurring == before
    assert all(call.startswith("GET") for call in kubeflow.calls)


@pytest.mark.parametrize("change", ["cron", "recipe"])
def test_a_change_leaves_one_recurring_run(
    kubeflow: FakeKubeflow, recipe: Recipe, change: str, tmp_path: Path
) -> None:
    scheduled(kubeflow, recipe)
    if change == "cron":
        assert scheduled(kubeflow, recipe, DAILY) == "updated"
    else:
        other = recipe_of(tmp_path, "leaves", "monitoring.window=200")
        assert scheduled(kubeflow, other) == "updated"
    (run,) = kubeflow.recurring
    sent = run["runtime_config"]["parameters"]["recipe"]["monitoring"]["window"]
    expected = (DAILY, 100) if change == "cron" else (HOURLY, 200)
    assert (run["trigger"]["cron_schedule"]["cron"], sent) == expected
    assert len(kubeflow.versions) == 1


def test_a_changed_pipeline_is_a_new_version_and_the_run_takes_it(
    kubeflow: FakeKubeflow, recipe: Recipe
) -> None:
    scheduled(kubeflow, recipe)
    other = {"image": {"name": "registry.example.org/steps", "tag": "2"}}
    assert scheduled(kubeflow, recipe, **other) == "unchanged"
    assert len(kubeflow.versions) == 2
    assert scheduled(kubeflow, recipe) == "unchanged"
    newest = kubeflow.packages[kubeflow.versions[-1]["pipeline_version_id"]]
    images = {e["container"]["image"] for e in newest["deploymentSpec"]["executors"].values()}
    assert images == {"registry.example.org/steps:1"}, "back to the first, which is the newest"


def test_what_a_crash_or_a_person_left_is_put_in_order(
    kubeflow: FakeKubeflow, recipe: Recipe
) -> None:
    for cron in (HOURLY, DAILY, HOURLY):
        scheduled(kubeflow, recipe, cron)
    (run,) = kubeflow.recurring
    copies = [{**run, "recurring_run_id": f"copy{n}"} for n in range(5)]
    kubeflow.recurring = [*copies, {**run, "recurring_run_id": "o", "display_name": "others"}]
    scheduled(kubeflow, recipe)
    names = sorted(one["display_name"] for one in kubeflow.recurring)
    assert names == ["leaves drift check", "others"]


def test_a_run_that_was_switched_off_is_switched_on(kubeflow: FakeKubeflow, recipe: Recipe) -> None:
    scheduled(kubeflow, recipe)
    kubeflow.recurring[0]["mode"] = "DISABLE"
    assert scheduled(kubeflow, recipe) == "updated"
    assert [run["mode"] for run in kubeflow.recurring] == ["ENABLE"]


def test_two_recipes_have_one_each(kubeflow: FakeKubeflow, recipe: Recipe, tmp_path: Path) -> None:
    scheduled(kubeflow, recipe)
    assert scheduled(kubeflow, recipe_of(tmp_path, "rocks")) == "created"
    names = sorted(run["display_name"] for run in kubeflow.recurring)
    assert names == ["leaves drift check", "rocks drift check"]


def test_an_installation_with_one_namespace(kubeflow: FakeKubeflow, recipe: Recipe) -> None:
    kubeflow.multi_user = False
    assert scheduled(kubeflow, recipe) == "created"
    assert scheduled(kubeflow, recipe) == "unchanged"
    assert not kubeflow.recurring[0].get("service_account")


@pytest.mark.parametrize(
    ("cron", "said"),
    [
        ("0 * * * *", '"0 0 * * * *"'),
        ("* * * *", "4 fields"),
        ("0 60 * * * *", "minute '60'"),
        ("0 0 24 * * *", "hour '24'"),
        ("0 0 0 0 * *", "day of month '0'"),
        ("0 0 0 * 13 *", "month '13'"),
        ("0 0 0 * * 7", "day of week '7'"),
        ("0 */0 * * * *", "minute '*/0'"),
        ("0 5-3 * * * *", "minute '5-3'"),
        ("0 ? * * * *", "minute '?'"),
        ("every hour on the hour please", "hour"),
        ("", "0 fields"),
    ],
)
def test_a_bad_schedule_sends_nothing(
    kubeflow: FakeKubeflow, recipe: Recipe, cron: str, said: str
) -> None:
    with pytest.raises(UserError) as raised:
        schedule_monitoring(recipe, cron, profile(kubeflow), looked_up=False)
    assert said in str(raised.value)
    assert kubeflow.calls == []


@pytest.mark.parametrize(
    "cron", ["0 0 9 ? * 2-6", "*/30 * * * * *", "0 0,30 8-18/2 1 JAN,jul MON-FRI", "0  0 0 * * ?"]
)
def test_good_schedules_are_taken(kubeflow: FakeKubeflow, recipe: Recipe, cron: str) -> None:
    scheduled(kubeflow, recipe, cron)
    sent = kubeflow.recurring[0]["trigger"]["cron_schedule"]["cron"]
    assert sent == " ".join(cron.split())


def test_weights_that_no_pod_can_read_send_nothing(kubeflow: FakeKubeflow, tmp_path: Path) -> None:
    other = recipe_of(tmp_path, "leaves", "backbone.weights=/home/me/w.safetensors")
    with pytest.raises(UserError, match="no step on the cluster can read this path"):
        scheduled(kubeflow, other)
    assert kubeflow.calls == []


def test_a_refused_token_says_so(kubeflow: FakeKubeflow, recipe: Recipe) -> None:
    kubeflow.token = "right"
    with pytest.raises(UserError, match="refuses the token"):
        scheduled(kubeflow, recipe)
    assert kubeflow.calls == []


def test_nobody_answers(kubeflow: FakeKubeflow, recipe: Recipe) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        host = f"http://127.0.0.1:{unused.getsockname()[1]}"
    with pytest.raises(UserError, match="does not answer"):
        schedule_monitoring(recipe, HOURLY, profile(kubeflow, host=host), looked_up=False)


def test_from_the_command_line(
    kubeflow: FakeKubeflow, recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.setenv("KFP_HOST", kubeflow.url)
    kubeflow.namespaces = (*kubeflow.namespaces, "regraft", "kubeflow")
    from pipelines.profile import load_profile
    from tests.pipelines.test_compiled import ROOT

    shipped = ROOT / "infra/profiles/cluster.yaml"
    kubeflow.namespaces = (load_profile(shipped).namespace,)
    arguments = ["regraft", "schedule", str(tmp_path / "leaves.yaml"), "--cron", HOURLY,
                 "--profile", str(shipped), "--no-lookup"]  # fmt: skip
    monkeypatch.setattr("sys.argv", arguments)
    main()
    assert capsys.readouterr().out.startswith("created: leaves drift check at '0 0 * * * *'")
