"""The gateway's settings, from environment variables. No I/O."""

from __future__ import annotations

from typing import Annotated

from aiohttp import web

from fastflow_contracts.limit_settings import LimitSettings
from fastflow_contracts.runs.operations.records import ITEMS_MAX
from fastflow_contracts.runs.room import FULL_PERCENT
from fastflow_contracts.runs.triggers import EVENT_BYTES_MAX
from fastflow_contracts.secrets.envelope import BadKey, split_keys
from fastflow_contracts.service.settings import BadSettings, Env
from fastflow_gateway.security.client_address import BadProxies, ClientAddresses
from fastflow_gateway.security.webhook_guard import CALL_BYTES, CALLS_PER_MINUTE

TOKEN_CHARACTERS_MIN = 16
BACKFILL_SLOTS_MAX = 1_000


class GatewaySettings(LimitSettings, frozen=True, kw_only=True):
    """The settings of one gateway. The defaults suit a laptop."""

    host: Annotated[str, Env("FASTFLOW_HOST", "Address to listen on.")] = "127.0.0.1"
    port: Annotated[int, Env("FASTFLOW_PORT", "Port to listen on; 0 = any free one.", least=0, most=65_535)] = 8000
    public_url: Annotated[
        str,
        Env(
            "FASTFLOW_PUBLIC_URL",
            "The address that browsers and senders of webhooks use, if a proxy stands before the gateway; also for the "
            "links that runs get.",
            pattern=r"https?://[^/?#\s]+(/[^?#\s]*)?",
            like="https://fastflow.example.com",
        ),
    ] = ""
    admin_token: Annotated[
        str,
        Env(
            "FASTFLOW_ADMIN_TOKEN",
            f"The token that people and programs sign in with; at least {TOKEN_CHARACTERS_MIN} characters.",
            secret=True,
        ),
    ] = ""
    webhook_bytes_max: Annotated[
        int, Env("FASTFLOW_WEBHOOK_BYTES_MAX", f"Largest body of a webhook, at most {EVENT_BYTES_MAX}.", least=1)
    ] = EVENT_BYTES_MAX
    webhook_calls_per_minute: Annotated[
        int,
        Env(
            "FASTFLOW_WEBHOOK_CALLS_PER_MINUTE",
            "Calls with one webhook key that each gateway takes in a minute; more get 429 and are not kept. A call "
            f"counts once more for each {CALL_BYTES:,} bytes of its body. 0 = no limit.",
            least=0,
        ),
    ] = CALLS_PER_MINUTE
    backfill_slots_max: Annotated[
        int,
        Env("FASTFLOW_BACKFILL_SLOTS_MAX", "Most slots of one backfill.", least=1, most=ITEMS_MAX),
    ] = BACKFILL_SLOTS_MAX
    git_hook_secret: Annotated[
        str,
        Env(
            "FASTFLOW_GIT_HOOK_SECRET",
            "The secret of the push hook, POST /api/hooks/git: the one that the git host has, at least "
            f"{TOKEN_CHARACTERS_MIN} characters. Several are separated by commas, for a rotation. Without one there is "
            "no push hook.",
            secret=True,
        ),
    ] = ""
    runs_full_percent: Annotated[
        float,
        Env(
            "FASTFLOW_RUNS_FULL_PERCENT",
            "How full the buckets of runs and of their inputs may be when a run is created; the rest is for runs that "
            "exist. The oldest ended runs are removed from 5 % less on. Must be equal in all services.",
            least=30,
            most=95,
        ),
    ] = FULL_PERCENT
    encryption_key: Annotated[
        str, Env("ENCRYPTION_KEY", "Fernet keys, separated by commas; the first one encrypts.", secret=True)
    ] = ""
    proxies: Annotated[
        str,
        Env(
            "FASTFLOW_PROXIES",
            "Addresses and networks of your proxies, separated by commas: X-Forwarded-For is believed from them "
            "when wrong keys and tokens are counted by client address.",
        ),
    ] = ""
    connections_max: Annotated[
        int,
        Env(
            "FASTFLOW_CONNECTIONS_MAX",
            "Most open connections; 0 = 4096, or what the limit of open files allows.",
            least=0,
        ),
    ] = 0
    connections_per_client_max: Annotated[
        int,
        Env(
            "FASTFLOW_CONNECTIONS_PER_CLIENT_MAX",
            "Most open connections from one address, except those in FASTFLOW_PROXIES; 0 = half of all.",
            least=0,
        ),
    ] = 0
    header_s: Annotated[
        float, Env("FASTFLOW_HEADER_S", "Seconds that a request's first line and headers may take.", least=1)
    ] = 15.0
    body_s: Annotated[float, Env("FASTFLOW_BODY_S", "Seconds that a request's body may take.", least=1)] = 60.0
    keep_alive_s: Annotated[
        float, Env("FASTFLOW_KEEP_ALIVE_S", "Seconds that a connection may wait for its next request.", least=1)
    ] = 75.0
    metrics: Annotated[bool, Env("FASTFLOW_METRICS", "Answer GET /metrics.")] = True
    metrics_token: Annotated[
        str,
        Env(
            "FASTFLOW_METRICS_TOKEN",
            f"A token for GET /metrics alone; at least {TOKEN_CHARACTERS_MIN} characters. Without it, the gateway's "
            "token is needed, or none where FASTFLOW_HOST is an address of this machine only, such as 127.0.0.1.",
            secret=True,
        ),
    ] = ""

    @property
    def git_hook_secrets(self) -> tuple[str, ...]:
        """The secrets of the push hook; none: there is no push hook."""
        return tuple(filter(None, (each.strip() for each in self.git_hook_secret.split(","))))


SETTINGS = web.AppKey("SETTINGS", GatewaySettings)


def check(settings: GatewaySettings) -> None:
    """Check what the types cannot.

    Raises:
        BadSettings: The token is too short, a key is invalid, or the largest body is larger than an event may be.
    """
    if len(settings.admin_token) < TOKEN_CHARACTERS_MIN:
        raise BadSettings(
            f"FASTFLOW_ADMIN_TOKEN must have at least {TOKEN_CHARACTERS_MIN} characters; "
            "make one with: python -c 'import secrets; print(secrets.token_urlsafe())'"
        )
    if settings.metrics_token and len(settings.metrics_token) < TOKEN_CHARACTERS_MIN:
        raise BadSettings(f"FASTFLOW_METRICS_TOKEN must have at least {TOKEN_CHARACTERS_MIN} characters.")
    if any(len(secret) < TOKEN_CHARACTERS_MIN for secret in settings.git_hook_secrets):
        raise BadSettings(
            f"Each secret in FASTFLOW_GIT_HOOK_SECRET must have at least {TOKEN_CHARACTERS_MIN} characters."
        )
    try:
        split_keys(settings.encryption_key)
    except BadKey as error:
        raise BadSettings(str(error)) from None
    try:
        ClientAddresses(settings.proxies)
    except BadProxies as error:
        raise BadSettings(f"FASTFLOW_PROXIES: {error}") from None
    if not 0 < settings.webhook_bytes_max <= EVENT_BYTES_MAX:
        raise BadSettings(f"FASTFLOW_WEBHOOK_BYTES_MAX must be from 1 to {EVENT_BYTES_MAX}, the largest event.")
