"""Several of each service on a bus of three servers: every trigger works while one service after another is killed.

``CHAOS_SEED=<number>`` repeats a sequence of kills. Scripts run as processes, so a script whose runner was killed is
lost; that is then its only end.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import secrets
import sys
from asyncio.subprocess import DEVNULL, PIPE
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import datetime
from itertools import count
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeVar

import aiohttp

from fastflow.local.bus_users import OUTSIDE, users_in
from fastflow_contracts.bus import subjects
from fastflow_contracts.bus.connection import connect
from fastflow_contracts.bus.errors import Unavailable
from fastflow_contracts.bus.subjects import RunRef
from fastflow_contracts.ids import RunId, run_id_for_key
from fastflow_contracts.names import PipelineName
from fastflow_contracts.runs.run import RunErrorType, RunRecord, RunStatus
from fastflow_contracts.service.lifecycle import EXIT_FAILURE
from tests.chaos.evidence import Evidence, gather
from tests.chaos.verdict import wrongs
from tests.chaos.world import World
from tests.support.cluster import SERVERS, Cluster
from tests.support.processes import Service

CHAOS_S: Final = 62.0
"""Long enough for a minute to begin, and with it the slot of a cron expression."""
SETTLE_S: Final = 120.0
RUNNING_MAX: Final = 4
TOKEN: Final = secrets.token_urlsafe(24)
KEY: Final = "a-long-webhook-key-for-tests"
STARTS_MAX: Final = 5
T = TypeVar("T", datetime, int)

PATIENCE: Final = {"FASTFLOW_LEASE_S": "12", "FASTFLOW_FENCE_S": "43"}
"""As short as a cluster allows: see ``Lease.complaint``."""
COMMAND_S: Final = 30.0
INTERVAL_S: Final = 3
COUNTS: Final = "import time\nfor n in range(20):\n    print(n, flush=True)\n    time.sleep(0.01)\n"
CRASHES: Final = COUNTS + "raise SystemExit(3)\n"

PIPELINES: Final[dict[str, dict[str, Any]]] = {
    "api": {},
    "webhook": {"webhook_key": KEY},
    "subject": {},
    "manual": {},
    "timed": {"schedule_interval_seconds": INTERVAL_S},
    "cron": {"schedule_cron": "* * * * *"},
    "single": {"schedule_interval_seconds": 1, "max_instances": 1},
    "upstream": {"downstream_triggers": [{"pipeline": "downstream"}]},
    "downstream": {},
    "daemon": {"restart_on_crash": True, "restart_cooldown": 2},
}
BY_THEMSELVES: Final = ("timed", "cron", "single", "downstream", "daemon")
STARTED_BY: Final = {
    "api": "api",
    "webhook": "webhook",
    "subject": "bus",
    "manual": "api",
    "timed": "schedule",
    "cron": "schedule",
    "single": "schedule",
    "upstream": "api",
    "downstream": "downstream",
    "daemon": "daemon_restart",
}
"""Except for the first run of the daemon."""


class Many(NamedTuple):
    """All services by name, and the gateways' addresses."""

    world: World
    cluster: Cluster
    services: dict[str, Service]
    gateways: list[str]


@asynccontextmanager
async def many(directory: Path) -> AsyncIterator[Many]:
    """Three servers, three gateways, three schedulers, two syncers, three runners."""
    pipelines = directory / "pipelines"
    for name, spec in PIPELINES.items():
        (pipelines / name).mkdir(parents=True)
        (pipelines / name / "main.py").write_text(CRASHES if name == "daemon" else COUNTS)
        (pipelines / name / "pipeline.json").write_text(json.dumps(spec))
    async with AsyncExitStack() as stack:
        cluster = Cluster(directory / "bus")
        stack.push_async_callback(cluster.end)
        url = await cluster.start()
        bus = await stack.enter_async_context(connect(url, name="test"))
        entry = await bus.get(subjects.PIPELINES, subjects.INSTALLATION_KEY)
        assert entry is not None
        world = World(cluster.bare_url, bus, cluster, entry.value.decode(), directory, "none")
        ports = {f"gateway-{n}": str(18_500 + secrets.randbelow(900) * 3 + n) for n in range(3)}
        services = {name: world.gateway(FASTFLOW_PORT=port, FASTFLOW_ADMIN_TOKEN=TOKEN) for name, port in ports.items()}
        limit = {"MAX_CONCURRENT_RUNS": str(RUNNING_MAX)}
        services |= {f"scheduler-{n}": world.scheduler(**PATIENCE, **limit) for n in range(3)}
        services |= {f"syncer-{n}": world.syncer(pipelines) for n in range(2)}
        services |= {f"runner-{n}": world.runner(f"runner-{n}", sandbox="process", **PATIENCE) for n in range(3)}
        stack.push_async_callback(_end, world)
        await world.running(*services.values())
        yield Many(world, cluster, services, [f"http://127.0.0.1:{port}" for port in ports.values()])


async def test_nothing_is_lost_or_doubled_while_one_of_everything_is_killed_at_random(tmp_path: Path) -> None:
    """Every accepted trigger is one run with one end and a complete log, and every limit is kept."""
    seed = int(os.environ.get("CHAOS_SEED") or random.randrange(1 << 32))
    print(f"CHAOS_SEED={seed}")
    async with many(tmp_path) as system:
        over = asyncio.Event()
        asked: Counter[str] = Counter()
        async with asyncio.TaskGroup() as group:
            kinds = (_by_api(system), _by_webhook(system), _by_bus(system), _by_command(system, asked))
            sending = [group.create_task(_send(over, kind)) for kind in kinds]
            await system.world.start("daemon")
            await _kill(system, random.Random(seed))
            over.set()
        accepted = {ref for task in sending for ref in task.result()}
        for name in BY_THEMSELVES:
            (system.world.directory / "pipelines" / name / "pipeline.json").write_text("{}")
        evidence = await _settled(system.world, accepted)
    _judge(evidence, accepted, asked)


async def _kill(system: Many, dice: random.Random) -> None:
    """Kill one after another; each is back before the next one dies."""
    loop = asyncio.get_running_loop()
    until = loop.time() + CHAOS_S
    kinds = ["gateway", "scheduler", "syncer", "runner", "server"]
    dice.shuffle(kinds)
    for number in count():
        if loop.time() > until and number >= len(kinds):
            return
        kind = kinds[number % len(kinds)]
        await asyncio.sleep(dice.uniform(0, 1))
        if kind == "server":
            victim = dice.randrange(SERVERS)
            print(f"killing server {victim}")
            await system.cluster.kill_one(victim)
            await asyncio.sleep(dice.uniform(0.2, 2))
            await system.cluster.start_one(victim)
        else:
            name = dice.choice([each for each in system.services if each.startswith(kind)])
            print(f"killing {name}")
            await system.services[name].kill()
            await asyncio.sleep(dice.uniform(0, 1))
            await _restart(system.services[name])


async def _restart(service: Service) -> None:
    """Restart services as a service manager does: one that ends because the bus is gone is started again."""
    for _ in range(STARTS_MAX):
        await service.launch()
        try:
            return await service.ready()
        except AssertionError:
            assert await service.ended() == EXIT_FAILURE
    raise AssertionError(f"the {service.name} does not start")


Attempt = Callable[[str], Awaitable[RunRef | None]]


async def _send(over: asyncio.Event, attempt: AsyncIterator[Attempt]) -> set[RunRef]:
    """Request one run after another, and repeat each with its key until it is accepted."""
    accepted: set[RunRef] = set()
    ask = await anext(attempt)
    try:
        for number in count():
            if over.is_set():
                return accepted
            ref = None
            while ref is None:
                ref = await ask(f"key-{number}")
                await asyncio.sleep(0.2)
            accepted.add(ref)
            await asyncio.sleep(0.5)
    finally:
        await attempt.aclose()  # type: ignore[attr-defined]
    raise AssertionError


async def _by_api(system: Many) -> AsyncIterator[Attempt]:
    async with aiohttp.ClientSession(headers={"Authorization": f"Bearer {TOKEN}"}) as http:

        async def ask(key: str) -> RunRef | None:
            name = "upstream" if key.endswith("0") else "api"
            path = f"/api/pipelines/{name}/run"
            return await _posted(http, random.choice(system.gateways) + path, key, name)

        yield ask


async def _by_webhook(system: Many) -> AsyncIterator[Attempt]:
    async with aiohttp.ClientSession() as http:

        async def ask(key: str) -> RunRef | None:
            url = f"{random.choice(system.gateways)}/api/webhooks/webhook/{KEY}"
            return await _posted(http, url, key, "webhook")

        yield ask


async def _posted(http: aiohttp.ClientSession, url: str, key: str, name: str) -> RunRef | None:
    try:
        headers = {"Idempotency-Key": key}
        async with http.post(url, json={}, headers=headers, timeout=aiohttp.ClientTimeout(total=15)) as answer:
            assert answer.status < 400 or answer.status >= 500 or answer.status == 429, await answer.text()
            if answer.status >= 300:
                return None
            body = await answer.json()
            return RunRef(PipelineName(name), RunId(body.get("id") or body["run_id"]))
    except (aiohttp.ClientError, TimeoutError):
        return None


async def _by_bus(system: Many) -> AsyncIterator[Attempt]:
    """With the password of outside programs."""
    password = users_in(system.world.directory / "bus" / "bus.users").outside_password
    url = system.cluster.bare_url.replace("//", f"//{OUTSIDE}:{password}@")
    async with connect(url, name="outside") as bus:

        async def ask(key: str) -> RunRef | None:
            try:
                await bus.publish("ff.trigger.subject", b"{}", message_id=key, patience_s=2)
            except Unavailable:
                return None
            name = PipelineName("subject")
            return RunRef(name, run_id_for_key(name, key))

        yield ask


async def _by_command(system: Many, asked: Counter[str]) -> AsyncIterator[Attempt]:
    """As a person does, who sees an error and starts another run: each command has at most one run."""

    async def ask(_: str) -> RunRef | None:
        asked["manual"] += 1
        command = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "fastflow", "run", "manual", "--json"),
            *("--url", random.choice(system.gateways), "--token", TOKEN),
            stdout=PIPE,
            stderr=DEVNULL,
        )
        async with asyncio.timeout(COMMAND_S):
            out = (await command.communicate())[0]
        return RunRef(PipelineName("manual"), RunId(json.loads(out)["id"])) if command.returncode == 0 else None

    yield ask


async def _settled(world: World, accepted: set[RunRef]) -> Evidence:
    """Return all runs once every one is over and no new one comes."""
    async with asyncio.timeout(SETTLE_S):
        while True:
            before = await gather(world)
            runs = [revisions[-1] for revisions in before.revisions.values()]
            if accepted <= before.revisions.keys() and all(run.is_over for run in runs) and not _unfollowed(runs):
                await asyncio.sleep(3)
                after = await gather(world)
                if after.revisions.keys() == before.revisions.keys():
                    return after
            await asyncio.sleep(1)


def _unfollowed(runs: list[RunRecord]) -> set[RunId]:
    parents = {run.order.parent_run_id for run in runs if run.pipeline == "downstream"}
    return {run.id for run in runs if run.pipeline == "upstream" and run.status is RunStatus.SUCCESS} - parents


def _judge(evidence: Evidence, accepted: set[RunRef], asked: Counter[str]) -> None:
    of: dict[str, list[RunRecord]] = {name: [] for name in PIPELINES}
    for revisions in evidence.revisions.values():
        of[revisions[-1].pipeline].append(revisions[-1])
    runs = [run for found in of.values() for run in found]
    print({name: dict(Counter(run.status.value for run in found)) for name, found in of.items()})
    unasked = {run.ref for name in (*BY_THEMSELVES, "manual") for run in of[name]}
    assert wrongs(evidence, accepted | unasked, lines=dict.fromkeys(PIPELINES, 20)) == []
    assert len(of["manual"]) <= asked["manual"]
    for run in runs:
        whole = run.attempts[-1].exit_code == (3 if run.pipeline == "daemon" else 0)
        assert whole or {attempt.error_type for attempt in run.attempts} == {RunErrorType.LOST}, run
        if run.pipeline != "daemon":
            assert run.order.triggered_by == STARTED_BY[run.pipeline]
    for name in ("timed", "cron", "single"):
        assert max(Counter(run.order.scheduled_for for run in of[name]).values()) == 1
    assert len(of["timed"]) >= CHAOS_S / INTERVAL_S / 2
    for follower in ("downstream", "daemon"):  # a daemon's run has one that it restarts
        parents = Counter(run.order.parent_run_id for run in of[follower])
        assert max(parents.values()) == 1
    assert Counter(run.order.triggered_by for run in of["daemon"])["daemon_restart"] == len(of["daemon"]) - 1
    held = [(attempt.claimed_at, attempt.finished_at) for run in runs for attempt in run.attempts]
    assert _at_once(held) <= RUNNING_MAX
    # By the order on the bus: a start that waits for its turn was created, by the clock, before the end that it awaits.
    assert _at_once([_from_creation_to_end(evidence, run.ref) for run in of["single"]]) == 1


def _from_creation_to_end(evidence: Evidence, ref: RunRef) -> tuple[int, int]:
    """Return the bus's sequences of the run's first revision and of the one that ended it."""
    stored_at = evidence.stored_at[ref]
    return stored_at[0], next(at for at, run in zip(stored_at, evidence.revisions[ref], strict=True) if run.is_over)


def _at_once(times: list[tuple[T, T]]) -> int:
    """Return the largest number of *times*, each a start and an end, that overlapped."""
    return max(sum(start <= begun < end for start, end in times) for begun, _ in times)


async def _end(world: World) -> None:
    for service in world.services:
        if service.is_running:
            await service.kill()
        print(f"--- the log of a {service.name}:", *list(service.log)[-40:], sep="\n")
