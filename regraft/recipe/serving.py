"""Options of the HTTP server: limits, batching, the prediction log, a challenger in shadow."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from regraft.recipe.base import Options


class ServingOptions(Options):
    """How `regraft serve` answers. Every limit is there so that no client can exhaust memory."""

    max_request_bytes: int = Field(default=10_000_000, ge=1)
    """Longest body of a request."""
    max_image_pixels: int = Field(default=25_000_000, ge=1)
    """Width times height of an image; judged from the header, before it is decoded."""
    max_inputs: int = Field(default=32, ge=1)
    """Inputs of one request."""
    max_queue: int = Field(default=64, ge=1)
    """Requests at work, and inputs waiting; what comes beyond is told to come back (503)."""
    max_batch: int = Field(default=16, ge=1)
    """Inputs that the model answers at once."""
    batch_window_ms: float = Field(default=4.0, ge=0, le=1000)
    """How long the model waits for the inputs of requests that are being decoded, or for as many as
    it has just answered; a client that is alone is never kept waiting."""
    receive_seconds: float = Field(default=10.0, gt=0)
    """Time that a client may take to send its request."""
    request_seconds: float = Field(default=30.0, gt=0)
    """Time from the whole request to its answer."""
    drain_seconds: float = Field(default=20.0, gt=0)
    """Time that requests in flight get when the server is told to stop."""
    poll_seconds: float = Field(default=2.0, gt=0)
    """How often the registry is asked whether the alias has moved."""
    threads: int = Field(default=0, ge=0)
    """CPU threads of the model; 0 means all cores."""
    log_predictions: bool = True
    """Whether answers are written to the prediction log, without which nothing can be monitored."""
    log_max_bytes: int = Field(default=1_000_000_000, ge=1_000_000)
    """Size of the prediction log; the oldest segments go first."""
    log_fsync: bool = False
    """Whether an answer waits until its record is on the disk: survives a power cut too."""
    keep_inputs: bool = False
    """Whether the inputs themselves are kept beside the log. Needed to learn from them later;
    may be personal data."""
    language_model: str = ""
    """Causal language model (folder or hub name) that words the replies of a chat, each sentence
    checked against the passages; empty: the passages' own sentences."""
    shadow: str = ""
    """Alias or version number of a challenger that also answers, never returned; empty: none."""
    shadow_share: float = Field(default=0.1, ge=0, le=1)
    """Share of the inputs that the challenger gets."""
    test_time: Literal["", "batch_statistics", "tent", "centring"] = ""
    """Adapt to the latest inputs while serving (batch norm; with `centring` the bias of the head,
    which needs all classes among them); empty: answer as registered. Answers then hang
    on what was asked before: a rollback does not bring them back bit for bit."""
    test_time_inputs: int = Field(default=64, ge=8, le=1024)
    """How many of the latest inputs it adapts to; each time half of them are new."""

    @model_validator(mode="after")
    def _one_request_fits(self) -> Self:
        if self.max_inputs > self.max_queue:
            raise ValueError(
                f"max_inputs {self.max_inputs} is more than max_queue {self.max_queue}: "
                "such a request could never be answered"
            )
        return self
