"""A cluster profile is checked as a whole before anything is compiled or sent."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import BaseModel

from pipelines.profile import ClusterProfile, Image, load_profile, step_names
from regraft.errors import UserError
from regraft.recipe.loading import field_paths, sections_of

SHIPPED = sorted(Path(__file__).parents[2].glob("infra/profiles/*.yaml"))
SMALLEST = {"namespace": "team", "image": {"name": "registry.example.org/steps", "tag": "1.2"}}


def profile_file(folder: Path, **more: Any) -> Path:
    path = folder / "profile.yaml"
    path.write_text(yaml.safe_dump({**SMALLEST, **more}))
    return path


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_shipped_profiles_are_valid(path: Path) -> None:
    assert load_profile(path).namespace


def test_every_field_is_documented() -> None:
    def bare(model: type[BaseModel]) -> list[str]:
        found = [f"{model.__name__}.{n}" for n, f in model.model_fields.items()
                 if not f.description]  # fmt: skip
        inner = [s for f in model.model_fields.values() for s in sections_of(f.annotation)]
        return found + [name for section in inner for name in bare(section)]

    assert bare(ClusterProfile) == []


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"namspace": "x"}, ["namspace is unknown", "did you mean namespace"]),
        ({"defaults": {"timeout": 3}}, ["defaults.timeout is unknown", "timeout_seconds"]),
        ({"namespace": "Team"}, ["namespace", "pattern"]),
        ({"steps": {"progresive_finetune": {}}}, ["did you mean progressive_finetune"]),
        ({"image": {"name": "a/steps", "tag": "latest"}}, ["latest", "give a version"]),
        ({"image": {"name": "a/steps"}}, ["needs a tag or a digest"]),
        ({"image": {"name": "a/steps:1.2"}}, ["write name and tag"]),
        ({"image": {"name": "a/steps", "digest": "sha256:12"}}, ["image.digest", "pattern"]),
        ({"environment": {"AWS_SECRET_ACCESS_KEY": "x"}}, ["looks like a secret", "`secrets`"]),
        ({"environment": {"STORE": "postgresql://me:pw@host/db"}}, ["STORE looks like a secret"]),
        ({"environment": {"NOT A NAME": "x"}}, ["environment", "pattern"]),
        ({"secrets": [{"secret": "s", "keys": {}}]}, ["secrets.0.keys", "at least 1"]),
        (
            {"secrets": [{"secret": "s", "keys": {"k": "K"}, "value": "x"}]},
            ["secrets.0.value is unknown"],
        ),
        ({"volumes": [{"claim": "c", "mount_path": "data"}]}, ["mount_path", "pattern"]),
        ({"defaults": {"resources": {"memory_limit": "8 GB"}}}, ["memory_limit"]),
        ({"defaults": {"gpu": {"type": "A100"}}}, ["defaults.gpu.type", "pattern"]),
        ({"run_as_user": 0}, ["run_as_user", "greater than 0"]),
        ({"host": "kubeflow.example.org"}, ["host", "pattern"]),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_a_mistake_is_one_message(more: dict[str, Any], words: list[str], tmp_path: Path) -> None:
    with pytest.raises(UserError) as caught:
        load_profile(profile_file(tmp_path, **more))
    text = str(caught.value)
    assert text.startswith("the cluster profile has 1 invalid field\n")
    assert "docs/cluster.md" in text
    for word in words:
        assert word in text


def test_every_field_is_on_the_page_that_messages_name() -> None:
    page = (Path(__file__).parents[2] / "docs" / "cluster.md").read_text(encoding="utf-8")
    for path in field_paths(ClusterProfile):
        assert f"`{path.rsplit('.', 1)[-1]}`" in page, path


def test_a_secret_is_not_repeated_in_the_message(tmp_path: Path) -> None:
    path = profile_file(tmp_path, environment={"DB_PASSWORD": "hunter2"})
    with pytest.raises(UserError) as caught:
        load_profile(path)
    assert "DB_PASSWORD" in str(caught.value)
    assert "hunter2" not in str(caught.value)


def test_a_missing_file_names_those_that_exist(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"the cluster profile cannot be read[\s\S]*No such file"):
        load_profile(tmp_path / "none.yaml")


def test_what_a_step_does_not_say_is_as_in_the_defaults(tmp_path: Path) -> None:
    profile = load_profile(profile_file(
        tmp_path,
        defaults={"timeout_seconds": 60, "resources": {"cpu_request": "2", "memory_limit": "8Gi"}},
        steps={"evaluation": {"resources": {"memory_limit": "16Gi"}, "retries": {"count": 0}}},
    ))  # fmt: skip
    own, other = profile.step("evaluation"), profile.step("registration")
    assert (own.timeout_seconds, own.retries.count) == (60, 0)
    assert (own.resources.cpu_request, own.resources.memory_limit) == ("2", "16Gi")
    assert other == profile.defaults


def test_overrides_reach_a_profile(tmp_path: Path) -> None:
    digest = "sha256:" + "a" * 64
    profile = load_profile(profile_file(tmp_path), [f"image.digest={digest}", "image.tag="])
    assert profile.image.reference() == f"registry.example.org/steps@{digest}"


def test_a_digest_goes_before_the_tag() -> None:
    assert Image(name="host:5000/a/b", tag="1").reference() == "host:5000/a/b:1"
    digest = "sha256:" + "b" * 64
    assert Image(name="a/b", tag="1", digest=digest).reference() == f"a/b@{digest}"


def test_steps_are_the_components() -> None:
    assert {"data_validation", "registration"} <= set(step_names())
