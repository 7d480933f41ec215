"""The push hook on a real gateway, a real bus, a real syncer and a real repository."""

from __future__ import annotations

import asyncio
import base64
import hmac
import io
import json
import logging
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import urlencode

import pytest
import pytest_asyncio
from standardwebhooks.webhooks import Webhook as Sender

from fastflow_contracts.bus.client import Bus
from fastflow_contracts.service.settings import BadSettings
from fastflow_gateway.security.webhook_guard import CLIENT_BURST, LATE_BURST
from fastflow_syncer.settings import SyncerSettings
from tests.git_repository import Repository
from tests.support.gateway import Answer, Client, running_gateway
from tests.support.logged import logged
from tests.support.syncer import record_of, serving, status_of

OLD, NEW = "the-former-secret-of-the-hook", "whsec_" + base64.b64encode(b"the new secret of the hook").decode()
PUSH = {"ref": "refs/heads/main", "after": "c" * 40, "repository": {"full_name": "acme/flows"}}
BODY = json.dumps(PUSH).encode()


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    made = Repository(tmp_path / "origin")
    made.commit(files={"etl/main.py": "print(1)\n"})
    return made


@pytest_asyncio.fixture
async def client(bus: Bus, repository: Repository) -> AsyncIterator[Client]:
    """A syncer that looks only on request, and a gateway during the rotation of the secret."""
    settings = SyncerSettings(git_repo_url=repository.url, git_sync_interval_s=0)
    async with serving(bus, settings), running_gateway(bus, git_hook_secret=f"{NEW}, {OLD}") as made:
        yield made


def signed(host: str, body: bytes = BODY, secret: str = OLD) -> dict[str, str]:
    """The headers of a push from *host*."""
    mac = hmac.digest(secret.encode(), body, "sha256").hex()
    at = datetime.now(UTC)
    return {
        "github": {
            "X-GitHub-Event": "push",
            "X-Hub-Signature": "sha1=" + hmac.digest(secret.encode(), body, "sha1").hex(),
            "X-Hub-Signature-256": f"sha256={mac}",
        },
        "gitea": {"X-Gitea-Event": "push", "X-Gitea-Signature": mac},
        "forgejo": {"X-Forgejo-Event": "push", "X-Forgejo-Signature": mac},
        "gitlab": {"X-Gitlab-Event": "Push Hook", "X-Gitlab-Token": secret},
        "gitlab signing token": {
            "X-Gitlab-Event": "Push Hook",
            "webhook-id": "msg_1",
            "webhook-timestamp": str(int(at.timestamp())),
            "webhook-signature": Sender(NEW).sign("msg_1", at, body.decode()),
        },
        "bitbucket": {"X-Event-Key": "repo:push", "X-Hub-Signature": f"sha256={mac}"},
    }[host]


HOSTS = ("github", "gitea", "forgejo", "gitlab", "gitlab signing token", "bitbucket")


async def hook(client: Client, headers: dict[str, str], body: bytes = BODY) -> Answer:
    return await client.post("/api/hooks/git", data=body, headers=headers, anonymous=True)


@pytest.mark.parametrize("host", HOSTS)
async def test_a_push_makes_the_new_commit_live(bus: Bus, client: Client, repository: Repository, host: str) -> None:
    """And the status names the branch, by which others are told apart."""
    commit = repository.commit(files={"etl/main.py": "print(2)\n"})
    done = await hook(client, signed(host))
    assert (done.status, done.json["action"]) == (200, "synced"), done.text
    assert commit in done.json["detail"]
    assert (await record_of(bus, "etl"))[0].commit == commit
    status = (await client.get("/api/sync/status")).json
    assert (status["live_commit"], status["last"]["branch"]) == (commit, "main")


@pytest.mark.parametrize("secret", [OLD, NEW])
async def test_each_secret_counts_during_a_rotation(client: Client, secret: str) -> None:
    assert (await hook(client, signed("github", secret=secret))).status == 200
    assert (await hook(client, signed("gitlab", secret=OLD))).status == 200


async def test_another_branch_a_tag_and_a_ping_are_answered_and_lead_to_no_sync(bus: Bus, client: Client) -> None:
    before = await status_of(bus)
    for change in ({"ref": "refs/heads/other"}, {"ref": "refs/tags/main"}, {"after": "0" * 40}):
        body = json.dumps(PUSH | change).encode()
        done = await hook(client, signed("github", body), body)
        assert (done.status, done.json["action"]) == (200, "nothing"), done.text
    done = await hook(client, signed("github") | {"X-GitHub-Event": "ping"})
    assert (done.status, done.json["detail"]) == (200, "pong: this address and the secret are right.")
    assert await status_of(bus) == before


async def test_a_form_is_checked_as_it_is_sent(client: Client) -> None:
    body = urlencode({"payload": BODY.decode()}).encode()
    headers = signed("github", body) | {"Content-Type": "application/x-www-form-urlencoded"}
    assert (await hook(client, headers, body)).json["action"] == "synced"


async def test_a_call_without_a_right_signature_is_refused_and_tells_nothing(
    client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    """Neither a SHA-1, nor a signature of another body, nor one that is too old."""
    caplog.set_level(logging.DEBUG)
    late = datetime.now(UTC) - timedelta(hours=1)
    stale = {
        "webhook-id": "msg_1",
        "webhook-timestamp": str(int(late.timestamp())),
        "webhook-signature": Sender(NEW).sign("msg_1", late, BODY.decode()),
    }
    sha1 = {"X-Hub-Signature": "sha1=" + hmac.digest(OLD.encode(), BODY, "sha1").hex()}
    wrong = [
        {"X-GitHub-Event": "push"},
        sha1,
        stale,
        signed("github", b"{}"),
        signed("bitbucket", secret="x" * 20),
        {"X-Gitlab-Token": ""},
        {"X-Gitlab-Token": OLD[:-1]},
        {"X-Gitlab-Token": f"{NEW}, {OLD}"},
        {"Authorization": f"Bearer {OLD}"},
    ]
    for headers in wrong:
        answer = await hook(client, headers)
        assert (answer.status, "FASTFLOW_GIT_HOOK_SECRET" in answer.text) == (401, True), headers
        assert not any(secret in answer.text for secret in (OLD, NEW, "acme"))
    assert not any(secret in logged(caplog) for secret in (OLD, NEW))


async def test_a_client_with_wrong_signatures_waits_and_a_right_one_does_not(client: Client) -> None:
    """Also from the same address, as behind a proxy, as long as few wrong ones come beside it."""
    for _ in range(CLIENT_BURST):
        await hook(client, {"X-Gitlab-Token": "wrong"})
    for wrong in ({"X-Gitlab-Token": "wrong"}, {}, signed("github", secret="x" * 20)):
        refused = await hook(client, wrong)
        assert (refused.status, int(refused.headers["Retry-After"]) > 0) == (429, True)
    for _ in range(2):
        for host in HOSTS:
            assert (await hook(client, signed(host))).status in (200, 202)
    assert (await hook(client, {"X-Gitlab-Token": "wrong"})).status == 429
    for _ in range(LATE_BURST):
        await hook(client, {"X-Gitlab-Token": "wrong"})
    assert (await hook(client, signed("github"))).status == 429, "guessing is bounded for all together"


async def test_pushes_at_once_share_a_few_syncs(bus: Bus, client: Client, repository: Repository) -> None:
    """Each is answered, and the newest commit is live afterwards; replays change nothing."""
    commit = repository.commit(files={"etl/main.py": "print(3)\n"})
    before = len((await status_of(bus)).history)
    answers = await asyncio.gather(*(hook(client, signed("github")) for _ in range(40)))
    assert {answer.status for answer in answers} <= {200, 202}
    assert (await record_of(bus, "etl"))[0].commit == commit
    assert len((await status_of(bus)).history) - before < 20


async def test_a_body_beyond_the_limit_and_one_that_is_no_event_are_refused(client: Client) -> None:
    big = b" " * (5 * 1024 * 1024)
    answer = await client.post("/api/hooks/git", data=io.BytesIO(big), headers=signed("github", big), anonymous=True)
    assert answer.status == 413
    assert (await hook(client, signed("github", b"{"), b"{")).status == 400
    assert (await client.get("/api/hooks/git")).status == 405


async def test_without_a_secret_there_is_no_hook_and_without_a_syncer_the_host_is_told(bus: Bus) -> None:
    async with running_gateway(bus) as client:
        answer = await hook(client, signed("github"))
        assert (answer.status, "FASTFLOW_GIT_HOOK_SECRET" in answer.text) == (404, True)
    async with running_gateway(bus, git_hook_secret=OLD) as client:
        answer = await hook(client, signed("github"))
        assert (answer.status, "no syncer" in answer.text) == (503, True)


async def test_a_short_secret_is_refused_at_the_start_without_repeating_it(bus: Bus) -> None:
    with pytest.raises(BadSettings, match="FASTFLOW_GIT_HOOK_SECRET") as refused:
        async with running_gateway(bus, git_hook_secret=f"{NEW},short-secret"):
            pass
    assert "short-secret" not in str(refused.value)
