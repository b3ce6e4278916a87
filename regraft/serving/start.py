"""`regraft serve`: from a name and flags to a running server."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from regraft.monitoring.feedback import add_labels
from regraft.monitoring.log_folder import log_folder
from regraft.monitoring.prediction_log import PredictionLog
from regraft.progress import note
from regraft.recipe.base import Options
from regraft.recipe.loading import apply_override, check_options
from regraft.recipe.serving import ServingOptions
from regraft.registry.versions import Reference
from regraft.serving.adapting import adapting
from regraft.serving.app import make_app
from regraft.serving.following import Follower, find
from regraft.serving.loaded import LoadedModel, load, serving_section
from regraft.serving.recording import AnswerLog
from regraft.serving.server import address_of, bind, make_server
from regraft.serving.service import Service
from regraft.serving.telemetry import Telemetry

_OWN_MACHINE = {"127.0.0.1", "localhost", "::1"}


def serve(
    name: str,
    *,
    host: str,
    port: int,
    overrides: Sequence[str] = (),
    tokens: tuple[bytes, ...] = (),
    say: Callable[[str], None] = print,
) -> None:
    """Answer until a signal ends it.

    `name` is a model (its champion is followed), NAME@ALIAS or NAME/VERSION. `overrides` are fields
    of the recipe's section `serving` as `serving.FIELD=VALUE`; what they leave open comes from the
    recipe of the version's run. `say` gets one line with the address once requests are taken.

    Raises `UserError` for everything that is wrong before that.
    """
    reference = find(name)
    options = options_of(reference, overrides)
    listening = bind(host, port)
    service = make_service(name, reference, options)
    service.start()
    _use_threads(options.threads)
    app = make_app(service, tokens=tokens)
    if not tokens and host not in _OWN_MACHINE:
        note("other machines can reach this server, and it asks for no token (--token-file)")
    model = service.model
    say(f"serving {model.name} version {model.version} on {address_of(listening)}")
    sys.stdout.flush()
    try:
        make_server(app, service).run(sockets=[listening])
    finally:
        service.stop()


def options_of(reference: Reference, overrides: Sequence[str]) -> ServingOptions:
    """The section `serving` of the version's recipe with overrides. Raises `UserError`."""
    values: dict[str, Any] = {"serving": serving_section(reference)}
    for override in overrides:
        apply_override(values, override)
    checked = check_options(
        _Section,
        values,
        noun="server",
        where=f"recipe of {reference.name} version {reference.version}, overrides and flags",
        fields="serving.FIELD=VALUE with the fields that `regraft recipe schema` lists",
    )
    return checked.serving


class _Section(Options):
    serving: ServingOptions


def make_service(name: str, reference: Reference, options: ServingOptions) -> Service:
    """The service of a model, its log and its challenger, not started yet."""
    telemetry = Telemetry()
    follower = Follower(
        name,
        poll_seconds=options.poll_seconds,
        on_swap=lambda model: telemetry.use(model.name, model.version),
        load=partial(_load, options=options),
    )
    challenger = None
    if options.shadow:
        mark = "/" if options.shadow.isdecimal() else "@"
        other = f"{reference.name}{mark}{options.shadow}"
        challenger = Follower(other, poll_seconds=options.poll_seconds, optional=True)
    return Service(
        follower,
        options,
        log=open_log(reference.name, options),
        telemetry=telemetry,
        challenger=challenger,
        add_labels=partial(add_labels, log_folder(reference.name))
        if options.log_predictions
        else None,
    )


def _load(reference: Reference, *, options: ServingOptions) -> LoadedModel:
    model = load(reference)
    if not options.test_time:
        return model
    return adapting(model, options.test_time, options.test_time_inputs)


def open_log(name: str, options: ServingOptions) -> AnswerLog | None:
    """The prediction log of the model; None when the options want none."""
    if not options.log_predictions:
        return None

    return PredictionLog(
        log_folder(name),
        max_bytes=options.log_max_bytes,
        keep_inputs=options.keep_inputs,
        fsync=options.log_fsync,
    )


def _use_threads(threads: int) -> None:
    """For tasks that run on torch; one that does not need not import it."""
    if torch := sys.modules.get("torch"):
        torch.set_num_threads(threads or len(os.sched_getaffinity(0)))
