"""What Prometheus can ask the server."""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

_SECONDS = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30)
_SIZES = (1, 2, 4, 8, 16, 32, 64)
_SHARES = tuple(n / 10 for n in range(1, 11))


class Telemetry:
    """Counters of one server; `registry` is its own, so that servers in one process don't mix."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        own = self.registry
        self.requests = Counter(
            "regraft_requests_total",
            "Requests by route and HTTP status",
            ["route", "status"],
            registry=own,
        )
        self.seconds = Histogram(
            "regraft_request_seconds",
            "From the head of a request to the end of its answer",
            ["route"],
            buckets=_SECONDS,
            registry=own,
        )
        self.answers = Counter(
            "regraft_predictions_total",
            "Answered inputs",
            ["version", "role", "label"],
            registry=own,
        )
        self.confidence = Histogram(
            "regraft_prediction_confidence",
            "Confidence of the champion's answers",
            buckets=_SHARES,
            registry=own,
        )
        self.batch_size = Histogram(
            "regraft_batch_size", "Inputs answered at once", buckets=_SIZES, registry=own
        )
        self.model = Gauge(
            "regraft_model_info", "1 for the version in use", ["name", "version"], registry=own
        )
        self.swaps = Counter(
            "regraft_model_swaps_total", "Versions loaded and put to use", registry=own
        )
        self.log_failures = Counter(
            "regraft_log_failures_total",
            "Answers withheld because they could not be logged",
            registry=own,
        )
        self.shadow = Counter(
            "regraft_shadow_total", "Inputs for the challenger", ["outcome"], registry=own
        )
        self.disconnects = Counter(
            "regraft_disconnects_total",
            "Clients that left before their request was whole",
            registry=own,
        )

    def watch(self, name: str, meaning: str, value: Callable[[], float]) -> None:
        """A gauge that is read when somebody asks."""
        Gauge(name, meaning, registry=self.registry).set_function(value)

    def use(self, name: str, version: str) -> None:
        """This version answers from now on."""
        self.model.clear()
        self.model.labels(name, version).set(1)
        self.swaps.inc()

    def page(self) -> bytes:
        """Everything in Prometheus' text format."""
        return generate_latest(self.registry)
