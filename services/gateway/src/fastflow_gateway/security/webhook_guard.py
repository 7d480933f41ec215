"""Limits the guessing of webhook keys, by client and by pipeline. Pure: time is an argument.

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
PROVEN_S: Final = 24 * 3600.0
"""How long a right key is remembered."""


class WebhookCall(NamedTuple):
    """A call of one pipeline's webhook by one client."""

    client: str
    pipeline: str


class WebhookGuard:
    """Counts every call: ``begin`` before the first await, then ``right`` or ``wrong``."""

    def __init__(self) -> None:
        self._clients = RateLimit(burst=CLIENT_BURST, per_minute=CLIENT_PER_MINUTE)
        self._pipelines = RateLimit(burst=PIPELINE_BURST, per_minute=PIPELINE_PER_MINUTE)
        self._proven: LRUCache[WebhookCall, float] = LRUCache(CLIENTS_MAX)

    def wait_s(self, call: WebhookCall, now_s: float) -> int:
        """Whole seconds until the client may try; 0 = now."""
        pipeline_s = 0 if self._is_proven(call, now_s) else self._pipelines.wait_s(call.pipeline, now_s)
        return max(self._clients.wait_s(call.client, now_s), pipeline_s)

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

    def _is_proven(self, call: WebhookCall, now_s: float) -> bool:
        return now_s - self._proven.get(call, float("-inf")) < PROVEN_S


WEBHOOK_GUARD = web.AppKey("WEBHOOK_GUARD", WebhookGuard)
"""The limits on wrong webhook keys."""
