"""A server in this process: real sockets and real HTTP, a model that needs no torch."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx

from regraft.errors import UserError
from regraft.recipe.serving import ServingOptions
from regraft.registry.versions import Reference
from regraft.serving.app import make_app
from regraft.serving.following import Follower
from regraft.serving.loaded import LoadedModel
from regraft.serving.server import address_of, bind, make_server
from regraft.serving.service import Service
from regraft.serving.telemetry import Telemetry

from .support import BrightnessPredictor

QUICK = {"poll_seconds": 0.02, "receive_seconds": 5.0}


class Memory:
    """A prediction log in memory, which can be full."""

    def __init__(self) -> None:
        self.records: list[Any] = []
        self.full = self.closed = False

    def append(self, records: Sequence[Any], inputs: Sequence[bytes] | None = None) -> None:
        if self.full:
            raise OSError("No space left on device")
        self.records.extend(records)

    def close(self) -> None:
        self.closed = True


@dataclass
class World:
    """The registry as the follower sees it: which version an alias means, which can be loaded."""

    aliases: dict[str, str] = field(default_factory=lambda: {"champion": "1"})
    broken: set[str] = field(default_factory=set)
    problem: Exception | None = None
    loads: list[str] = field(default_factory=list)
    model: Callable[[str], Any] = lambda version: BrightnessPredictor.of(["dark", "light"])

    def find(self, reference: str) -> Reference:
        if self.problem is not None:
            raise self.problem
        name, _, alias = reference.partition("@")
        if (alias or "champion") not in self.aliases:
            raise UserError(f"model {name!r} has no alias {alias!r}")
        return Reference(name, self.aliases[alias or "champion"])

    def load(self, reference: Reference) -> LoadedModel:
        self.loads.append(reference.version)
        if reference.version in self.broken:
            raise OSError("weights are missing")
        return LoadedModel(*reference, self.model(reference.version), {"code_version": "c0de"})

    def follower(self, reference: str, telemetry: Telemetry, **options: Any) -> Follower:
        return Follower(
            reference,
            poll_seconds=QUICK["poll_seconds"],
            on_swap=lambda model: telemetry.use(model.name, model.version),
            find=self.find,
            load=self.load,
            **options,
        )


@dataclass
class Running:
    """A server that listens."""

    address: str
    service: Service
    world: World
    log: Memory
    server: Any
    thread: threading.Thread

    @property
    def port(self) -> int:
        return int(self.address.rpartition(":")[2])

    def client(self, **options: Any) -> httpx.Client:
        return httpx.Client(base_url=self.address, timeout=30, **options)


@contextmanager
def running(
    *,
    world: World | None = None,
    add_labels: Any = None,
    tokens: tuple[bytes, ...] = (),
    shadow: str = "",
    **options: Any,
) -> Iterator[Running]:
    world, log, telemetry = world or World(), Memory(), Telemetry()
    service = Service(
        world.follower("plants", telemetry),
        ServingOptions.model_validate({**QUICK, **options}),
        log=log,
        telemetry=telemetry,
        add_labels=add_labels,
        challenger=world.follower(f"plants@{shadow}", telemetry, optional=True) if shadow else None,
    )
    service.start()
    listening = bind("127.0.0.1", 0)
    server = make_server(make_app(service, tokens=tokens), service)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
    address = address_of(listening)
    thread.start()
    try:
        until(lambda: server.started)
        yield Running(address, service, world, log, server, thread)
    finally:
        server.should_exit = True
        thread.join(30)
        service.stop()
    assert not thread.is_alive(), "the server did not stop"


def until(condition: Callable[[], bool], seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it never happened"
        time.sleep(0.005)
