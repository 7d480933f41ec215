"""Errors: one clear message, the documented exit code, never a traceback."""

from __future__ import annotations

import re

import pytest

from tests.support.installation import Installation


def test_a_refusing_server_is_not_reported_as_unreachable(there: Installation) -> None:
    """The password or the token is wrong."""
    url = there.command("bus", "url").stdout.strip()
    wrong = re.sub(r":[^:@/]+@", ":wrong@", url)
    done = there.command("bus", "status", "--nats-url", wrong)
    assert done.returncode == 5
    assert "refuses these credentials" in done.stderr
    assert "no NATS server answers" not in done.stderr
    done = there.command("ps", "--token", "wrong")
    assert done.returncode == 5
    assert "refuses the token: the token is not this installation's" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["run", "nosuch"], 3, "no pipeline nosuch. `fastflow pipelines` lists them"),
        (["run", "helo"], 3, "did you mean hello?"),
        (["trigger", "helo"], 3, "did you mean hello?"),
        (["ps", "-a", "--pipeline", "helo"], 3, "there is no pipeline helo; did you mean hello?"),
        (["run", "no such"], 2, "cannot be a pipeline's name"),
        (["run", "hello", "-e", "NOTHING_SET"], 2, "NAME=value"),
        (["run", "hello", "-e", "=x"], 2, "before the ="),
        (["run", "hello", "--config", "prod"], 2, "prod"),
        (["run"], 2, "Missing argument"),
        (["logs", "ffffffff"], 3, "ps --all"),
        (["logs", "python_versio"], 3, "did you mean python_version?"),
        (["cancel", "00000000-0000-4000-8000-000000000000"], 3, "no run"),
        (["trigger", "ff.log.x"], 2, "ff.trigger.<pipeline>"),
        (["trigger", "event_consumer", "@/nowhere"], 3, "/nowhere"),
        (["trigger", "event_consumer", '{"env_vars": 1}'], 2, "env_vars"),
        (["ps", "--pipeline", "a b"], 2, "cannot be a pipeline's name"),
        (["bus", "status", "--nats-url", "nats://127.0.0.1:1"], 5, "no NATS server answers at nats://127.0.0.1:1"),
        (["ps", "--url", "http://127.0.0.1:1"], 5, "http://127.0.0.1:1 cannot be reached"),
        (["ps", "--url", "nats://127.0.0.1:1"], 2, "write it as http://host:port"),
        (["ps", "--url", "http://127.0.0.1:1", "--on", "prod"], 2, "give only one of them"),
        (["ps", "--on", "prod"], 3, "`fastflow login URL --on prod` stores it"),
        (["retry", "ffffffff"], 3, "ps --all"),
        (["schedules", "off", "hello"], 3, "hello has no schedules"),
        (["runners", "drain", "nobody"], 3, "there is no runner nobody; there are: "),
        (["ps", "--data-dir", "elsewhere"], 5, "fastflow up"),
        (["nonsense"], 2, "No such command"),
    ],
)
def test_a_mistake_is_answered_with_what_to_do(there: Installation, arguments: list[str], code: int, says: str) -> None:
    """One clear message, the documented exit code, never a traceback."""
    done = there.command(*arguments)
    assert says in done.stderr
    assert "Traceback" not in done.stderr
    assert done.returncode == code
    assert done.stdout == ""
