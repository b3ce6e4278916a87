"""The process: a socket, uvicorn on it, and an orderly end."""

from __future__ import annotations

import logging
import socket
from types import FrameType
from typing import Any

from regraft.errors import UserError
from regraft.serving.service import Service

_BACKLOG = 256
_IDLE_SECONDS = 30
_CONNECTIONS = 16  # times the queue: idle, slow and waiting ones together


def bind(host: str, port: int) -> socket.socket:
    """A listening socket; port 0 lets the system choose. Raises `UserError` when it is taken."""
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        return socket.create_server(
            (str(address[0]), int(address[1])), family=family, backlog=_BACKLOG
        )
    except OSError as error:
        raise UserError(
            "the server cannot listen there",
            where=f"{host}:{port}",
            got=error.strerror or str(error),
            fix="choose another --port (0 takes a free one), or end the program that uses it",
        ) from error


def address_of(listening: socket.socket) -> str:
    """`http://HOST:PORT` of a listening socket."""
    host, port = listening.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def make_server(app: Any, service: Service) -> Any:
    """A `uvicorn.Server` that ends in order: not ready at once, requests in flight answered.

    Run it with `run(sockets=[bind(...)])`. Signals end it with exit code 0; a second one at once.
    """
    import uvicorn

    from regraft.serving.protocol import PatientProtocol

    class Server(uvicorn.Server):
        def handle_exit(self, sig: int, frame: FrameType | None) -> None:
            # uvicorn would raise the signal again at its end and so never exit with 0
            service.stopping = True
            self.force_exit = self.should_exit
            self.should_exit = True

    # what clients send is answered, counted, and no reason to fill the log
    logging.getLogger("python_multipart").setLevel(logging.ERROR)
    options = service.options
    config = uvicorn.Config(
        app,
        http=PatientProtocol,
        ws="none",
        lifespan="off",
        access_log=False,
        log_level="error",
        server_header=False,
        timeout_keep_alive=_IDLE_SECONDS,
        limit_concurrency=_CONNECTIONS * options.max_queue,
        timeout_graceful_shutdown=int(options.drain_seconds) or 1,
    )
    return Server(config)
