"""The routes."""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import HTMLResponse, JSONResponse, Response
from starlette.background import BackgroundTask
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

import regraft
from regraft.errors import UserError
from regraft.serving.chat import Chat
from regraft.serving.chat_format import MODELS, PATH, as_openai_error, is_chat_path
from regraft.serving.page import POLICY, sign_page, try_page
from regraft.serving.problems import Refused, as_json, of_input
from regraft.serving.service import Service
from regraft.serving.tokens import accepted

_OPEN = {"/", "/healthz", "/readyz"}
_CODES = {404: "unknown_route", 405: "wrong_method"}
_UNHEARD = 499
_LOG = logging.getLogger("regraft.serving")
_METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]


def make_app(service: Service, *, tokens: tuple[bytes, ...] = ()) -> Any:
    """The ASGI application of a started service; with `tokens`, everything except the two probes
    and the page, which asks for one, needs one of them."""
    app = FastAPI(title="Regraft", version=regraft.__version__, docs_url=None, redoc_url=None)
    app.add_exception_handler(UserError, _refuse)
    app.add_exception_handler(HTTPException, _refuse_route)
    app.add_exception_handler(Exception, _internal)

    @app.exception_handler(ClientDisconnect)
    async def nobody_there(request: Request, error: Exception) -> Response:
        service.telemetry.disconnects.inc()
        return Response(status_code=400)  # starlette wants one; nobody reads it

    async def predict(request: Request) -> Response:
        """Answer images: raw bytes, a multipart form, or JSON (see docs/serving.md)."""
        content, items = await service.predict(request)
        return JSONResponse(content, background=BackgroundTask(service.after, items))

    for path in ("/predict", "/invocations", f"/v1/models/{service.model.name}:predict"):
        app.add_api_route(path, predict, methods=["POST"])

    @app.get("/", response_class=HTMLResponse)
    async def page() -> HTMLResponse:
        """Try the model: a photo, a text, a recording from the microphone."""
        return HTMLResponse(try_page(), headers={"content-security-policy": POLICY})

    @app.get("/signs/{word}", response_class=HTMLResponse)
    def sign(word: str) -> HTMLResponse:
        """A figure that signs the word, where the model does."""
        return HTMLResponse(sign_page(service.model, word))

    chat = Chat(service)

    @app.post(PATH)
    async def complete(request: Request) -> Response:
        """Reply to a dialogue, in OpenAI's format (see docs/assistant.md)."""
        return await chat.complete(request)

    @app.get(MODELS)
    async def models() -> dict[str, Any]:
        """What can be talked to, in OpenAI's format."""
        return {"object": "list", "data": chat.models()}

    @app.get(MODELS + "/{name}")
    async def one_model(name: str) -> dict[str, Any]:
        """The same of one model."""
        return chat.model(name)

    @app.post("/feedback")
    async def feedback(request: Request) -> dict[str, Any]:
        """What answers should have been: {"id", "label"}, or {"labels": [...]}."""
        return await service.feedback(request)

    @app.get("/healthz")
    async def healthz() -> dict[str, str]:
        """The process runs."""
        return {"status": "alive"}

    @app.get("/readyz")
    async def readyz() -> Response:
        """Requests would be answered; with what is known of registry, log and challenger."""
        status = 503 if service.stopping else 200
        return JSONResponse(_readiness(service), status_code=status)

    @app.get("/model")
    async def model() -> dict[str, Any]:
        """Who answers."""
        return _model(service)

    @app.get("/metrics")
    async def metrics() -> Response:
        """For Prometheus."""
        return Response(service.telemetry.page(), media_type=_METRICS_TYPE)

    return _Door(app, service, tokens, {route.path for route in app.routes})  # type: ignore[attr-defined]


def _readiness(service: Service) -> dict[str, Any]:
    found = {
        "ready": not service.stopping,
        "model": service.model.name,
        "version": service.model.version,
        "registry": service.follower.status(),
        "log": {"problem": service.log_problem} if service.log is not None else None,
    }
    if service.challenger is not None:
        other = service.challenger.current
        version = None if other is None else other.version
        found["shadow"] = {"version": version, **service.challenger.status()}
    return found


def _model(service: Service) -> dict[str, Any]:
    model = service.model
    return {
        "name": model.name,
        "version": model.version,
        "task": model.predictor.task,
        "alias": service.follower.alias,
        "classes": list(model.predictor.classes),
        "code_version": model.tags.get("code_version", ""),
        "data_version": model.tags.get("data_version", ""),
        "regraft_version": regraft.__version__,
        "limits": service.options.model_dump(mode="json"),
    }


class _Door:
    """Asks for the token and counts, around the application."""

    def __init__(
        self, app: Any, service: Service, tokens: tuple[bytes, ...], routes: set[str]
    ) -> None:
        self._app, self._service, self._tokens = app, service, tokens
        self._routes = routes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started, status = time.perf_counter(), _UNHEARD

        async def noticed(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        route = scope["path"] if scope["path"] in self._routes else "other"
        try:
            may = self._may(scope)
            app = self._app if may else _refusal(_without_token(), scope["path"])
            await app(scope, receive, noticed)
        except Exception:
            if status == _UNHEARD:
                raise
            # told to the client by `_internal`; raised once more, uvicorn would cut the connection
            _LOG.exception("internal error at %s", route)
        finally:
            telemetry = self._service.telemetry
            telemetry.requests.labels(route, str(status)).inc()
            telemetry.seconds.labels(route).observe(time.perf_counter() - started)

    def _may(self, scope: Scope) -> bool:
        if not self._tokens or scope["path"] in _OPEN:
            return True
        found = [value for name, value in scope["headers"] if name == b"authorization"]
        return accepted(found[0].decode("latin-1") if found else None, self._tokens)


def _without_token() -> Refused:
    return Refused(
        401,
        "unauthorized",
        "this server wants a bearer token",
        where="header Authorization",
        got="none or a wrong one",
        expected="Bearer TOKEN",
        headers={"www-authenticate": "Bearer"},
    )


def _refusal(error: UserError, path: str) -> Response:
    refused = of_input(error)
    content = as_openai_error(refused) if is_chat_path(path) else as_json(refused)
    return JSONResponse(content, status_code=refused.status, headers=refused.headers)


async def _refuse(request: Request, error: Exception) -> Response:
    assert isinstance(error, UserError)
    return _refusal(error, request.url.path)


async def _refuse_route(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    code = _CODES.get(error.status_code, "refused")
    what = f"{request.method} {request.url.path[:100]}: {error.detail}"
    return _refusal(
        Refused(error.status_code, code, what, expected="POST /predict; see /openapi.json"),
        request.url.path,
    )


async def _internal(request: Request, error: Exception) -> Response:
    """Starlette raises the error again, for the log."""
    return _refusal(
        Refused(500, "internal", "the server failed at this request", fix="see the server's log"),
        request.url.path,
    )
