"""Webhooks through a real gateway: signatures, guard, and what is never logged."""

from __future__ import annotations

import asyncio
import base64
import hmac
import json
import logging
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from urllib.parse import quote

import aiohttp
import pytest
import pytest_asyncio
from cryptography.fernet import Fernet
from standardwebhooks.webhooks import Webhook as Sender
from yarl import URL

from fastflow_contracts.bus.client import Bus
from fastflow_contracts.pipelines.format.spec import ScheduleEntry, WebhookSpec
from fastflow_contracts.pipelines.format.webhook import Verify
from fastflow_contracts.secrets.envelope import WEBHOOK_SECRET
from fastflow_contracts.secrets.sealing import Sealer
from fastflow_gateway.security import webhook_guard
from fastflow_gateway.security.webhook_guard import CLIENT_BURST, PIPELINE_BURST
from tests.support.gateway import TOKEN, Answer, Client, running_gateway, running_scheduler
from tests.support.logged import logged
from tests.support.records import a_bundle, publish_pipeline

KEY = "a-webhook-key-of-some-length"
ENCRYPTION_KEY = Fernet.generate_key().decode()
SECRET = "whsec_" + base64.b64encode(b"secret of the sender, and of us").decode()
BODY = b'{"order": 7}'


def sealed(pipeline: str, secret: str = SECRET) -> str:
    return Sealer(ENCRYPTION_KEY).seal(secret, place=(pipeline, WEBHOOK_SECRET))


@pytest_asyncio.fixture
async def client(bus: Bus) -> AsyncIterator[Client]:
    """``signed`` accepts calls signed by the standard, its entry ``hub`` those of GitHub; ``open`` accepts any."""
    code = a_bundle(main_py="1")
    of_hub = WebhookSpec(verify="github", secret=sealed("signed", "hub"))
    entries = (
        ScheduleEntry(id="hub", webhook_key=f"{KEY}-hub", webhook=of_hub),
        ScheduleEntry(id="off", webhook_key=f"{KEY}-off", enabled=False),
    )
    standard = WebhookSpec(verify="standard", secret=sealed("signed"))
    await publish_pipeline(bus, "signed", code, webhook_key=KEY, webhook=standard, schedules=entries)
    await publish_pipeline(bus, "open", code, webhook_key=KEY)
    async with running_scheduler(bus), running_gateway(bus, encryption_key=ENCRYPTION_KEY) as client:
        yield client


async def call(client: Client, path: str, body: bytes = BODY, **headers: str) -> Answer:
    return await client.post(f"/api/webhooks/{path}", data=body, headers=headers, anonymous=True)


def signature(call_id: str = "msg_1", *, late_s: int = 0) -> dict[str, str]:
    at = datetime.now(UTC) - timedelta(seconds=late_s)
    return {
        "webhook-id": call_id,
        "webhook-timestamp": str(int(at.timestamp())),
        "webhook-signature": Sender(SECRET).sign(call_id, at, BODY.decode()),
    }


async def test_a_signed_call_starts_a_run_and_a_repeat_is_that_run(client: Client) -> None:
    """The signed id counts; another idempotency key does not make a copied call a new one."""
    first = await call(client, f"signed/{KEY}", **signature())
    again = await call(client, f"signed/{KEY}", **signature(), **{"Idempotency-Key": "another"})
    assert (first.status, again.status) == (200, 200)
    assert first.json["id"] == again.json["id"]
    assert first.json["triggered_by"] == "webhook"


async def test_a_key_alone_is_not_enough_if_signatures_are_required(client: Client) -> None:
    """401 without one, with an old one, and with one of another sender, before the body is read."""
    for headers in ({}, signature(late_s=400), signature() | {"webhook-id": "msg_2"}):
        answer = await call(client, f"signed/{KEY}", **headers)
        assert answer.status == 401, headers
        assert SECRET not in answer.text
    broken = await call(client, f"signed/{KEY}", b"{", **{"Content-Type": "application/json"})
    assert broken.status == 401
    assert (await client.get("/api/runs")).json["runs"] == []


async def test_an_entry_has_keys_and_signatures_of_its_own(client: Client) -> None:
    """Each key requires the signatures of its own run configuration; a disabled one starts nothing."""
    mac = "sha256=" + hmac.digest(b"hub", BODY, "sha256").hex()
    good = await call(client, f"signed/{KEY}-hub", **{"X-Hub-Signature-256": mac, "X-GitHub-Delivery": "d1"})
    assert (good.status, good.json["run_config_id"]) == (200, "hub")
    assert (await call(client, f"signed/{KEY}-hub", **signature())).status == 401
    assert (await call(client, f"signed/{KEY}", **{"X-Hub-Signature-256": mac})).status == 401
    assert (await call(client, f"signed/{KEY}-off", **signature())).status == 401


def sent_by_gitlab(delivery: str, **headers: str) -> dict[str, str]:
    return {"X-Gitlab-Event": "Push Hook", "Idempotency-Key": delivery} | headers


def sent_by_gitea(delivery: str, secret: bytes) -> dict[str, str]:
    mac = hmac.digest(secret, BODY, "sha256").hex()
    ids = dict.fromkeys(("X-GitHub-Delivery", "X-Gogs-Delivery", "X-Gitea-Delivery"), delivery)
    return ids | {"X-Gitea-Event": "push", "X-Gitea-Signature": mac, "X-Hub-Signature-256": f"sha256={mac}"}


async def test_calls_of_gitlab_and_gitea_are_verified(bus: Bus) -> None:
    """With all their headers: a call starts a run, its repeat is that run, and without proof it is refused."""
    of: dict[str, tuple[Verify, str]] = {
        "lab": ("gitlab", SECRET),
        "old-lab": ("gitlab", "mytoken"),
        "tea": ("gitea", "x"),
    }
    entries = tuple(
        ScheduleEntry(
            id=name, webhook_key=f"{KEY}-{name}", webhook=WebhookSpec(verify=verify, secret=sealed("all", secret))
        )
        for name, (verify, secret) in of.items()
    )
    await publish_pipeline(bus, "all", a_bundle(main_py="1"), schedules=entries)
    calls = {
        "lab": sent_by_gitlab("d1") | signature("d1"),
        "old-lab": sent_by_gitlab("d2", **{"X-Gitlab-Token": "mytoken"}),
        "tea": sent_by_gitea("d3", b"x"),
    }
    async with running_scheduler(bus), running_gateway(bus, encryption_key=ENCRYPTION_KEY) as client:
        for name, headers in calls.items():
            answers = [await call(client, f"all/{KEY}-{name}", BODY, **headers) for _ in range(2)]
            assert [(answer.status, answer.json["run_config_id"]) for answer in answers] == [(200, name)] * 2
            assert answers[0].json["id"] == answers[1].json["id"]
            bare = await call(client, f"all/{KEY}-{name}", BODY, **sent_by_gitlab("d4"))
            assert bare.status == 401


@pytest.mark.parametrize("keys", ["", Fernet.generate_key().decode()], ids=["no key", "another key"])
async def test_a_secret_that_cannot_be_opened_closes_the_webhook(bus: Bus, keys: str) -> None:
    """503, so that the sender tries again; signatures stay required."""
    webhook = WebhookSpec(verify="standard", secret=sealed("signed"))
    await publish_pipeline(bus, "signed", a_bundle(main_py="1"), webhook_key=KEY, webhook=webhook)
    async with running_gateway(bus, encryption_key=keys) as client:
        answer = await call(client, f"signed/{KEY}", **signature())
        assert answer.status == 503
        assert "key" in answer.json["detail"].lower()
        assert answer.headers["Retry-After"]


async def test_a_wrong_key_is_refused_before_the_signature_is_checked(client: Client) -> None:
    """So the response to a signature never shows whether a key is right."""
    assert (await call(client, "signed/wrong", **signature())).json["detail"] == (
        await call(client, "open/wrong", **signature())
    ).json["detail"]


async def test_guesses_at_the_same_time_all_count(client: Client) -> None:
    """A hundred guesses at once count like ten one after the other."""
    answers = await asyncio.gather(*(call(client, f"open/guess-{n}") for n in range(100)))
    statuses = [answer.status for answer in answers]
    assert (statuses.count(401), statuses.count(429)) == (CLIENT_BURST, 100 - CLIENT_BURST)


async def test_guesses_at_other_pipelines_count_too(client: Client) -> None:
    """Also those at unknown names; all pipelines are then closed."""
    statuses = [(await call(client, f"nobody-{n}/{KEY}")).status for n in range(CLIENT_BURST)]
    assert set(statuses) == {404}
    assert (await call(client, f"open/{KEY}")).status == 429


async def test_the_right_key_of_a_disabled_pipeline_is_not_a_guess(bus: Bus, client: Client) -> None:
    """404, however often; the client is not shut out elsewhere. A wrong key there counts as anywhere."""
    await publish_pipeline(bus, "resting", a_bundle(main_py="1"), webhook_key=KEY, enabled=False)
    for _ in range(2 * CLIENT_BURST):
        assert (await call(client, f"resting/{KEY}")).status == 404
    assert (await call(client, f"open/{KEY}")).status == 200
    statuses = [(await call(client, "resting/guess")).status for _ in range(CLIENT_BURST)]
    assert set(statuses) == {404}
    assert (await call(client, f"open/{KEY}")).status == 429


async def test_many_addresses_do_not_help_a_guesser(bus: Bus, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every unknown client waits, right key or not; clients that sent a right key, and other pipelines, do not."""
    monkeypatch.setattr(webhook_guard, "PIPELINE_PER_MINUTE", 0.001)  # so that no time passes
    for name in ("open", "other"):
        await publish_pipeline(bus, name, a_bundle(main_py="1"), webhook_key=KEY)
    statuses = Counter[int]()
    async with running_scheduler(bus), running_gateway(bus) as client, AsyncExitStack() as stack:

        async def caller(number: int) -> Client:
            connector = aiohttp.TCPConnector(local_addr=(f"127.0.7.{number}", 0))
            return Client(client.url, await stack.enter_async_context(aiohttp.ClientSession(connector=connector)))

        friend, stranger = await caller(1), await caller(2)
        assert (await call(friend, f"open/{KEY}")).status == 200
        for number in range(PIPELINE_BURST // CLIENT_BURST + 2):
            guesser = await caller(10 + number)
            answers = await asyncio.gather(*(call(guesser, f"open/guess-{n}") for n in range(CLIENT_BURST)))
            statuses.update(answer.status for answer in answers)
        assert statuses == {401: PIPELINE_BURST, 429: 2 * CLIENT_BURST}
        refused = await call(stranger, f"open/{KEY}")
        assert (refused.status, int(refused.headers["Retry-After"]) > 0) == (429, True)
        assert (await call(friend, f"open/{KEY}")).status == 200
        assert (await call(stranger, f"other/{KEY}")).status == 200


async def test_behind_a_proxy_each_client_counts_for_itself(bus: Bus) -> None:
    """By the hop that our proxy wrote: others are not shut out, and a hop that the client wrote does not hide it."""
    await publish_pipeline(bus, "open", a_bundle(main_py="1"), webhook_key=KEY)
    async with running_scheduler(bus), running_gateway(bus, proxies="127.0.0.1") as client:
        for n in range(CLIENT_BURST):
            assert (await call(client, "open/guess", **{"X-Forwarded-For": f"10.0.0.{n}, 198.51.100.1"})).status == 401
        assert (await call(client, f"open/{KEY}", **{"X-Forwarded-For": "10.0.0.99, 198.51.100.1"})).status == 429
        assert (await call(client, f"open/{KEY}", **{"X-Forwarded-For": "198.51.100.1, 198.51.100.2"})).status == 200
        for form in ({"data": {"token": "guess"}}, {"data": {"token": TOKEN}}):
            headers = {"X-Forwarded-For": "198.51.100.1"}
            statuses = [
                (await client.post("/login", anonymous=True, headers=headers, **form)).status for _ in range(10)
            ]
        assert set(statuses) == {429}
        headers = {"X-Forwarded-For": "198.51.100.2"}
        assert (await client.post("/login", anonymous=True, headers=headers, data={"token": TOKEN})).status == 303


async def test_right_calls_are_never_delayed(client: Client) -> None:
    """Any number at once from one client. A busy machine may leave the decision to later, or find no bus in time."""
    answers = await asyncio.gather(*(call(client, f"open/{KEY}") for _ in range(5 * CLIENT_BURST)))
    assert {answer.status for answer in answers} <= {200, 202, 503}
    assert PIPELINE_BURST > CLIENT_BURST


async def test_nothing_sent_to_a_webhook_is_logged(client: Client, caplog: pytest.LogCaptureFixture) -> None:
    """No key, no signature, no body, with any response, and even for a malformed request."""
    host, port = client.url.removeprefix("http://").split(":")
    secret = "hunter2-body"
    with caplog.at_level(logging.DEBUG):
        for path in (f"open/{KEY}", f"open/{KEY}x", f"signed/{KEY}", f"nobody/{KEY}", f"a%20b/{KEY}", f"open/{KEY}%0a"):
            await call(client, path, json.dumps({"env_vars": {"A": secret}}).encode(), **signature())
            await call(
                client, path, b'{"env_vars": {"A": 1, "hunter2-body": 2}}', **{"Content-Type": "application/json"}
            )
        for line in (
            f"POST /api/webhooks/open/{KEY} HTTP/9.9\r\n\r\n",
            f"POST /api/webhooks/open/{KEY} and more HTTP/1.1\r\nHost: x\r\n\r\n",
            f"POST /api/webhooks/open/{KEY} HTTP/1.1\r\nHost: x\r\nContent-Length: abc\r\n\r\n",
            f"POST /api/webhooks/open/{KEY} HTTP/1.1\r\nHost: x\r\nbad header {KEY}\r\n\r\n",
            f"POST http://[/api/webhooks/open/{KEY} HTTP/1.1\r\nHost: x\r\n\r\n",
            f"POST /api/webhooks/open/{KEY} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n{KEY}\r\n",
            f"/api/webhooks/open/{KEY}\r\n\r\n",
        ):
            reader, writer = await asyncio.open_connection(host, int(port))
            writer.write(line.encode())
            answer = await asyncio.wait_for(reader.read(), 10) if line.count("\r\n\r\n") else b""
            writer.close()
            await writer.wait_closed()
            assert secret.encode() not in answer
    assert KEY not in logged(caplog)
    assert secret not in logged(caplog)
    assert SECRET not in logged(caplog)
    assert signature()["webhook-signature"] not in logged(caplog)
    assert "/api/webhooks/open/***" in logged(caplog)


@pytest.mark.parametrize(
    "key", ["a/b/c-key-of-some-length", "50%+more key?", "k\u00e4se-\u4f60-key", "%2F-is-not-a-slash", "a&b=c#d"]
)
async def test_a_key_may_have_any_characters(bus: Bus, key: str) -> None:
    """Written into the address as every client does it; the path that we show is such an address."""
    await publish_pipeline(bus, "odd", a_bundle(main_py="1"), webhook_key=key)
    async with running_scheduler(bus), running_gateway(bus) as client:
        path = (await client.get("/api/pipelines/odd")).json["webhooks"][0]["path"]
        assert path == f"/api/webhooks/odd/{quote(key, safe='')}"
        for address, status in ((path, 200), (f"{path}x", 401)):
            async with client.http.post(URL(client.url + address, encoded=True)) as answer:
                assert answer.status == status


async def test_a_key_has_a_rate_and_others_are_served(bus: Bus) -> None:
    """What is over it gets 429 with when to come again; a large body counts for more; nothing is kept."""
    code = a_bundle(main_py="1")
    entries = (ScheduleEntry(id="hub", webhook_key=f"{KEY}-hub"),)
    await publish_pipeline(bus, "open", code, webhook_key=KEY, schedules=entries)
    async with running_scheduler(bus), running_gateway(bus, webhook_calls_per_minute=20) as client:
        assert [(await call(client, f"open/{KEY}")).status for _ in range(20)] == [200] * 20
        over = await call(client, f"open/{KEY}")
        assert over.status == 429
        assert 0 < int(over.headers["Retry-After"]) <= 3
        assert (await call(client, f"open/{KEY}-hub", b"x" * 19 * 16 * 1024)).status == 200
        assert (await call(client, f"open/{KEY}-hub")).status == 429
        assert (await client.post("/api/pipelines/open/run", json={})).status == 200
        assert (await client.get("/api/skipped")).json["skips"] == []
