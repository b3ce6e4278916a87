"""A cluster that speaks HTTP: as much of Kubeflow Pipelines and of Kubernetes as we ask for.

Kubeflow's part accepts one token, knows users' namespaces, and keeps what it is sent. Kubernetes'
part answers for Secrets, claims and accounts by name.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlparse


@dataclass
class FakeCluster:
    """What it accepts, what it has, and what it was sent."""

    token: str = ""
    namespaces: tuple[str, ...] = ("team",)
    multi_user: bool = True
    may_look: bool = True
    objects: dict[str, list[str]] = field(default_factory=dict)
    """"secrets/NAME" and the like to its keys."""
    runs: list[dict[str, Any]] = field(default_factory=list)
    experiments: list[dict[str, Any]] = field(default_factory=list)
    url: str = ""

    def answer(self, method: str, path: str, query: dict[str, list[str]], body: Any,
               token: str) -> tuple[int, Any]:  # fmt: skip
        """Status and JSON body of the answer."""
        if path.startswith("/api/v1/namespaces/"):
            return self._kubernetes(path)
        if self.token and token != f"Bearer {self.token}":
            return 401, {"error": "Request not authenticated"}
        kind = path.removeprefix("/apis/v2beta1/")
        if kind == "healthz":
            return 200, {"multi_user": self.multi_user}
        named = body if isinstance(body, dict) else {}
        namespace = named.get("namespace") or query.get("namespace", [""])[0]
        if self.multi_user and namespace and namespace not in self.namespaces:
            return 403, {"error": f"User 'me' is not authorized in namespace {namespace}"}
        if not self.multi_user and namespace:
            return 400, {"error": "In single-user mode, the request shouldn't contain namespace"}
        return self._kubeflow(method, kind, query, body)

    def _kubeflow(self, method: str, kind: str, query: dict[str, list[str]],
                  body: Any) -> tuple[int, Any]:  # fmt: skip
        if kind == "experiments" and method == "POST":
            made = {**body, "experiment_id": f"e{len(self.experiments)}"}
            self.experiments.append(made)
            return 200, made
        if kind == "experiments":
            wanted = json.loads(query["filter"][0])["predicates"][0]["stringValue"]
            found = [e for e in self.experiments if e["display_name"] == wanted]
            return 200, {"experiments": found}
        if kind == "runs" and method == "POST":
            made = {
                **body, "run_id": f"r{len(self.runs)}", "state": "PENDING",
                "created_at": f"2026-01-01T00:00:{len(self.runs):02}Z",
            }  # fmt: skip
            self.runs.append(made)
            return 200, made
        if kind == "runs":
            newest = list(reversed(self.runs))[: int(query["page_size"][0])]
            return 200, {"runs": newest, "total_size": len(self.runs)}
        return 404, {"error": f"no {kind}"}

    def _kubernetes(self, path: str) -> tuple[int, Any]:
        if not self.may_look:
            return 403, {"kind": "Status", "code": 403, "message": "forbidden"}
        name = path.split("/", 5)[5]
        if name not in self.objects:
            return 404, {"kind": "Status", "code": 404, "message": f"{name} not found"}
        return 200, {"metadata": {}, "data": dict.fromkeys(self.objects[name], "eA==")}


@contextmanager
def serving(cluster: FakeCluster) -> Iterator[FakeCluster]:
    """The cluster behind an address of this machine, until the block ends."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._reply("GET")

        def do_POST(self) -> None:
            self._reply("POST")

        def do_DELETE(self) -> None:
            self._reply("DELETE")

        def _reply(self, method: str) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            body: Any = self.rfile.read(length) if length else None
            if body and not self.headers.get("Content-Type", "").startswith("multipart/"):
                body = json.loads(body)
            address = urlparse(self.path)
            status, content = cluster.answer(
                method, unquote(address.path), parse_qs(address.query), body,
                self.headers.get("Authorization", ""),
            )  # fmt: skip
            data = json.dumps(content).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    cluster.url = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield cluster
    finally:
        server.shutdown()
        server.server_close()
