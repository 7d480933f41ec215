"""Limits the guessing of webhook keys, by client and by pipeline, and the calls with one key. Pure: time is an
argument.

A client that failed too often waits, also with another key, another pipeline, or an invalid name. A pipeline with many
failures makes all clients wait, so many addresses do not get around the limit. Clients that sent a right key of it
within the last day are served anyway: guessing must not shut them out. Their first wrong key ends that, so one key does
not help to guess another.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from aiohttp import web
from cachetools import LRUCache

from fastflow_gateway.security.rate_limit import CLIENTS_MAX, RateLimit

CLIENT_BURST, CLIENT_PER_MINUTE = 10, 10
PIPELINE_BURST, PIPELINE_PER_MINUTE = 100, 60
LATE_BURST, LATE_PER_MINUTE = 60, 60
CALLS_PER_MINUTE: Final = 600
CALL_BYTES: Final = 16 * 1024
"""A call counts once more for each such part of its body: what it stores must not fill the bus either."""
PROVEN_S: Final = 24 * 3600.0
"""How long a right key is remembered."""


class WebhookCall(NamedTuple):
    """A call of one pipeline's webhook by one client."""

    client: str
    pipeline: str


class WebhookGuard:
    """Counts every call: ``begin`` before the first await, then ``right`` or ``wrong``."""

    def __init__(self, *, calls_per_minute: int = CALLS_PER_MINUTE) -> None:
        """*calls_per_minute*: with one key; 0 = no limit."""
        self._calls = RateLimit(burst=calls_per_minute, per_minute=calls_per_minute) if calls_per_minute else None
        self._clients = RateLimit(burst=CLIENT_BURST, per_minute=CLIENT_PER_MINUTE)
        self._pipelines = RateLimit(burst=PIPELINE_BURST, per_minute=PIPELINE_PER_MINUTE)
        self._late = RateLimit(burst=LATE_BURST, per_minute=LATE_PER_MINUTE)
        self._proven: LRUCache[WebhookCall, float] = LRUCache(CLIENTS_MAX)

    def wait_s(self, call: WebhookCall, now_s: float) -> int:
        """Whole seconds until the client may try; 0 = now."""
        pipeline_s = 0 if self._is_proven(call, now_s) else self._pipelines.wait_s(call.pipeline, now_s)
        return max(self._clients.wait_s(call.client, now_s), pipeline_s)

    def may_be_late(self, pipeline: str, now_s: float) -> bool:
        """Whether a signed call of a client that must wait is checked nevertheless; counts it until it is right.

        Behind a proxy one address may be everybody's: the failures of others must not shut out who has the secret. All
        clients together have a few such checks, so guessing gets no further.
        """
        if self._late.wait_s(pipeline, now_s):
            return False
        self._late.failed(pipeline, now_s)
        return True

    def right_though_late(self, pipeline: str, now_s: float) -> None:
        """The signature of such a call holds."""
        self._late.forgive(pipeline, now_s)

    def begin(self, call: WebhookCall, now_s: float) -> None:
        """Count the call as wrong until it is known to be right: else a thousand concurrent calls would count once."""
        self._clients.failed(call.client, now_s)

    def right(self, call: WebhookCall, now_s: float) -> None:
        """The client sent a key of the pipeline."""
        self._clients.forgive(call.client, now_s)
        self._proven[call] = now_s

    def wrong(self, call: WebhookCall, now_s: float) -> None:
        """The key is wrong. Only for pipelines with keys: other names would fill the memory."""
        self._pipelines.failed(call.pipeline, now_s)
        self._proven.pop(call, None)

    def busy_s(self, key: str, now_s: float) -> int:
        """Whole seconds until a call with *key* is taken; 0 = now. *key* names it, it is not the secret."""
        return 0 if self._calls is None else self._calls.wait_s(key, now_s)

    def taken(self, key: str, body_bytes: int, now_s: float) -> None:
        """Count a call with a right key."""
        if self._calls is not None:
            self._calls.failed(key, now_s, times=1 + body_bytes // CALL_BYTES)

    def _is_proven(self, call: WebhookCall, now_s: float) -> bool:
        return now_s - self._proven.get(call, float("-inf")) < PROVEN_S


WEBHOOK_GUARD = web.AppKey("WEBHOOK_GUARD", WebhookGuard)
"""The limits on webhooks."""
