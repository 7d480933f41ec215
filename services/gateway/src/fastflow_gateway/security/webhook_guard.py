"""How often the key of a webhook may be guessed, by one caller and at one pipeline. Pure: time is an argument.

A caller that failed too often waits, whatever it tries next: another key, another pipeline, or a name that is none. A
pipeline at which many callers failed makes everybody wait, so that many addresses are no way around. But callers that
proved to know one of its keys lately are served: guessing must not shut them out. The first wrong key ends that, so
one key helps nobody to guess another.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from aiohttp import web
from cachetools import LRUCache

from fastflow_gateway.security.rate_limit import CALLERS_MAX, RateLimit

CALLER_BURST, CALLER_PER_MINUTE = 10, 10
PIPELINE_BURST, PIPELINE_PER_MINUTE = 100, 60
PROVEN_S: Final = 24 * 3600.0
"""How long a right key is remembered."""


class WebhookCall(NamedTuple):
    """A client that calls a webhook of one pipeline."""

    caller: str
    pipeline: str


class WebhookGuard:
    """Tell it of every call: ``begin`` before anything is waited for, then ``right`` or ``wrong``."""

    def __init__(self) -> None:
        self._callers = RateLimit(burst=CALLER_BURST, per_minute=CALLER_PER_MINUTE)
        self._pipelines = RateLimit(burst=PIPELINE_BURST, per_minute=PIPELINE_PER_MINUTE)
        self._proven: LRUCache[WebhookCall, float] = LRUCache(CALLERS_MAX)

    def wait_s(self, call: WebhookCall, now_s: float) -> int:
        """Whole seconds until the caller may try; 0 = now."""
        pipeline_s = 0 if self._is_proven(call, now_s) else self._pipelines.wait_s(call.pipeline, now_s)
        return max(self._callers.wait_s(call.caller, now_s), pipeline_s)

    def begin(self, call: WebhookCall, now_s: float) -> None:
        """Count the call as a wrong one until it is known to be right: else a thousand at once would be one."""
        self._callers.failed(call.caller, now_s)

    def right(self, call: WebhookCall, now_s: float) -> None:
        """The caller knows a key of the pipeline."""
        self._callers.forgive(call.caller, now_s)
        self._proven[call] = now_s

    def wrong(self, call: WebhookCall, now_s: float) -> None:
        """It is none of its keys. Only for pipelines that have some: others would fill the memory."""
        self._pipelines.failed(call.pipeline, now_s)
        self._proven.pop(call, None)

    def _is_proven(self, call: WebhookCall, now_s: float) -> bool:
        return now_s - self._proven.get(call, float("-inf")) < PROVEN_S


WEBHOOK_GUARD = web.AppKey("WEBHOOK_GUARD", WebhookGuard)
"""Of wrong webhook keys."""
