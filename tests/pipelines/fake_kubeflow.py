"""The fake cluster with pipelines, their versions and recurring runs, in pages as the real one."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

import yaml

from tests.pipelines.fake_cluster import FakeCluster

LARGEST_PAGE = 2


@dataclass
class FakeKubeflow(FakeCluster):
    """Keeps what it was sent; `packages` are the uploaded YAML files by version id."""

    pipelines: list[dict[str, Any]] = field(default_factory=list)
    versions: list[dict[str, Any]] = field(default_factory=list)
    packages: dict[str, dict[str, Any]] = field(default_factory=dict)
    recurring: list[dict[str, Any]] = field(default_factory=list)
    calls: list[str] = field(default_factory=list)
    made: int = 0

    def _kubeflow(self, method: str, kind: str, query: dict[str, list[str]],
                  body: Any) -> tuple[int, Any]:  # fmt: skip
        self.calls.append(f"{method} {kind}")
        if kind == "pipelines" and method == "POST":
            return 200, self._kept(self.pipelines, body, "pipeline_id")
        if kind == "pipelines":
            return 200, _page(self.pipelines, "pipelines", query)
        if kind == "pipelines/upload_version":
            return self._version(query, body)
        if kind.startswith("pipelines/") and kind.endswith("/versions"):
            own = [v for v in self.versions if v["pipeline_id"] == kind.split("/")[1]]
            newest = own[::-1] if query.get("sort_by") == ["created_at desc"] else own
            return 200, _page(newest, "pipeline_versions", query)
        if kind == "recurringruns" and method == "POST":
            return 200, self._kept(self.recurring, body, "recurring_run_id")
        if kind == "recurringruns":
            of = query["experiment_id"][0]
            own = [run for run in self.recurring if run["experiment_id"] == of]
            return 200, _page(own, "recurringRuns", query)
        if kind.startswith("recurringruns/") and method == "DELETE":
            name = kind.split("/")[1]
            self.recurring = [r for r in self.recurring if r["recurring_run_id"] != name]
            return 200, {}
        return super()._kubeflow(method, kind, query, body)

    def _version(self, query: dict[str, list[str]], body: bytes) -> tuple[int, Any]:
        pipeline, name = query["pipelineid"][0], query["name"][0]
        if any(v["pipeline_id"] == pipeline and v["display_name"] == name for v in self.versions):
            return 409, {"error": f"The name {name} already exist"}
        made = self._kept(
            self.versions, {"pipeline_id": pipeline, "display_name": name}, "pipeline_version_id"
        )
        text = body.split(b"\r\n\r\n", 1)[1].rsplit(b"\r\n--", 1)[0]
        self.packages[made["pipeline_version_id"]] = next(yaml.safe_load_all(text))
        return 200, made

    def _kept(self, where: list[dict[str, Any]], body: dict[str, Any], key: str) -> dict[str, Any]:
        self.made += 1
        made = {**body, key: f"{key[0]}{self.made}",
                "created_at": f"2026-01-01T00:00:{self.made:02}Z"}  # fmt: skip
        where.append(json.loads(json.dumps(made)))
        return made


def _page(found: list[dict[str, Any]], name: str, query: dict[str, list[str]]) -> dict[str, Any]:
    start = int(query.get("page_token", ["0"])[0] or 0)
    size = min(int(query.get("page_size", ["10"])[0]), LARGEST_PAGE)
    rest = str(start + size) if start + size < len(found) else ""
    return {name: found[start : start + size], "total_size": len(found), "next_page_token": rest}
