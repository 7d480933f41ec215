"""Plant, use, print and raise secrets, then search for them in every place that others can read."""

from __future__ import annotations

import base64
import hashlib
import json
import subprocess
import urllib.error
import urllib.parse
import urllib.request
import uuid
from collections.abc import Iterator
from http.cookiejar import CookieJar
from pathlib import Path
from typing import Any

import pytest
from cryptography.fernet import Fernet

from fastflow_contracts.secrets.envelope import WEBHOOK_SECRET
from fastflow_contracts.secrets.sealing import Sealer
from tests.support.installation import Installation

pytestmark = pytest.mark.docker

KEY = Fernet.generate_key().decode()
NAMES = ("OF_PIPELINE", "OF_ENTRY", "UNBOUND")
SECRETS = {name: f"planted{uuid.uuid4().hex}{uuid.uuid4().hex}" for name in (*NAMES, WEBHOOK_SECRET, "TYPED")}
WEBHOOK_KEY = f"knock{uuid.uuid4().hex}"
JOB = "holder.schedules=2Fentry"
KNOWN = f"seen{uuid.uuid4().hex}"
"""Not a secret: a search that does not find it is broken."""

CODE = f"""\
import hashlib, os, sys, time
print("{KNOWN}", flush=True)
for name in {NAMES!r}:
    value = os.environ[name]
    print("digest", name, hashlib.sha256(value.encode()).hexdigest())
    print("clear", name, value, "and", value + value, flush=True)
    sys.stderr.write(value[:20]); sys.stderr.flush(); sys.stderr.write(value[20:] + "\\n")
if os.environ.get("END") == "throw":
    raise ValueError(" ".join(os.environ[name] for name in {NAMES!r}))
print("sleeps", flush=True)
time.sleep(600)
"""


@pytest.fixture
def installation(tmp_path: Path) -> Iterator[Installation]:
    sealer = Sealer(KEY)

    def token(name: str) -> str:
        return sealer.seal(SECRETS[name], place=("holder", name))

    with Installation(tmp_path) as made:
        made.add(
            "holder",
            CODE,
            encrypted_env={"OF_PIPELINE": token("OF_PIPELINE"), "UNBOUND": sealer.seal(SECRETS["UNBOUND"])},
            schedules=[
                {"id": "entry", "schedule_cron": "0 0 29 2 *", "encrypted_env": {"OF_ENTRY": token("OF_ENTRY")}}
            ],
            webhook_key=WEBHOOK_KEY,
            webhook={"verify": "gitlab", "secret": token(WEBHOOK_SECRET)},
        )
        made.add("thief", "print('never')\n", encrypted_env={"OF_PIPELINE": token("OF_PIPELINE")})
        made.start("--sandbox", "docker", ENCRYPTION_KEY=KEY, LOG_LEVEL="DEBUG")
        yield made


def test_planted_secrets_are_found_nowhere(installation: Installation) -> None:
    """The bus's store, the container's description, the services' logs, the API's answers and the pages lack them."""
    api = installation.api
    api("/api/secrets/encrypt-for-pipeline", {"value": SECRETS["TYPED"], "pipeline": "holder", "name": "TYPED"})
    sleeping = api("/api/pipelines/holder/run", {"run_config_id": "entry"})["id"]
    installation.await_log(sleeping, "sleeps")
    described = {"docker": _docker(sleeping)}
    thrown = api(
        "/api/pipelines/holder/run?allow_undeclared=true", {"run_config_id": "entry", "env_vars": {"END": "throw"}}
    )["id"]
    stolen = api("/api/pipelines/thief/run", {})["id"]
    called = _webhook(installation)
    for run_id in (thrown, stolen, called):
        installation.command("logs", run_id, "--follow")
    api(f"/api/runs/{sleeping}/cancel", {})
    log = installation.command("logs", sleeping, "--follow").stdout

    # The script had the secrets and tried to leak them.
    for name in NAMES:
        assert f"digest {name} {hashlib.sha256(SECRETS[name].encode()).hexdigest()}" in log
        assert f"clear {name} *** and ***" in log
    (run,) = [each for each in api("/api/runs")["runs"] if each["id"] == stolen]
    assert (run["error_type"], len(run["attempts"])) == ("secret_error", 1)

    described |= _answers(installation, [sleeping, thrown, stolen])
    assert installation.stop() == 0
    described["printed"] = "".join(installation.printed).encode()
    assert len(described["printed"]) > 1000, "the services' logs were not on"
    for path in installation.data_dir.rglob("*"):
        if path.is_file():
            described[str(path.relative_to(installation.data_dir))] = path.read_bytes()

    assert any(KNOWN.encode() in text for where, text in described.items() if where.endswith(".blk"))
    assert KNOWN.encode() in described[f"/api/runs/{sleeping}/logs"]
    found = [
        (name, where)
        for name, secret in [*SECRETS.items(), ("ENCRYPTION_KEY", KEY)]
        for form in _forms(secret)
        for where, text in described.items()
        if form in text
    ]
    assert found == []
    # A webhook's key is its address: the API shows it to who holds the token, a page only on request, and the file on
    # the bus contains it.
    told = {where for where, text in described.items() if WEBHOOK_KEY.encode() in text and not where.endswith(".blk")}
    assert told == {"/api/pipelines/holder"}


def test_a_script_does_not_get_the_webhooks_secret(installation: Installation) -> None:
    """The secret that authenticates a caller is not in the environment of the script that the call starts."""
    run_id = _webhook(installation)
    log = installation.command("logs", run_id, "--follow")
    assert SECRETS[WEBHOOK_SECRET] not in log.stdout + log.stderr
    installation.stop()


def _docker(run_id: str) -> bytes:
    """Return everything that the daemon reports about a run's container."""

    def ask(*arguments: str) -> bytes:
        done = subprocess.run(["docker", *arguments], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
        return done.stdout

    (name,) = ask("ps", "--filter", f"name={run_id}", "--format", "{{.Names}}").decode().split()
    described = ask("inspect", name) + ask("top", name, "-eo", "pid,args") + ask("logs", name) + ask("diff", name)
    assert b"main.py" in described
    return described


def _webhook(installation: Installation) -> str:
    base = installation.url
    request = urllib.request.Request(f"{base}/api/webhooks/holder/{WEBHOOK_KEY}", b"{}", method="POST")
    request.add_header("X-Gitlab-Token", SECRETS[WEBHOOK_SECRET])
    with urllib.request.urlopen(request, timeout=30) as answer:
        run: Any = json.loads(answer.read())
    return str(run["id"])


def _answers(installation: Installation, run_ids: list[str]) -> dict[str, bytes]:
    """Return every answer in the API's description, and every page, including errors."""
    base = installation.url
    browser = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(CookieJar()))
    browser.open(installation.address, timeout=30).close()
    described = installation.api("/api/openapi.json")["paths"]
    wanted = [path for path, methods in described.items() if "get" in methods]
    wanted += ["/api/openapi.json", "/", "/runs", "/secrets", "/graph", "/runners", "/schedules", "/runs/{id}"]
    wanted += ["/pipelines/{name}", "/pipelines/{name}/start"]
    found = {}
    for path in wanted:
        for name, value in {"name": "holder", "job": JOB, "number": "1", "path": "left.txt"}.items():
            path = path.replace(f"{{{name}}}", value)
        for each in [path.replace("{id}", run_id) for run_id in run_ids] if "{id}" in path else [path]:
            assert "{" not in each, f"what is asked for in {each}?"
            try:
                with browser.open(base + each, timeout=30) as answer:
                    found[each] = answer.read()
            except urllib.error.HTTPError as refusal:
                with refusal:
                    found[each] = refusal.read()
    return found


def _forms(secret: str) -> list[bytes]:
    """Return the secret in all encodings that may contain it."""
    raw = secret.encode()
    # Base64 depends on the start offset; from each variant, take the part that does not depend on adjacent bytes.
    encoded = [base64.b64encode(b"\0" * n + raw)[4:-4] for n in range(3)]
    return [raw, raw.hex().encode(), raw[::-1], urllib.parse.quote(secret).encode(), *encoded]
