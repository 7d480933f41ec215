"""Encrypting through the gateway, and the schema that it serves."""

from __future__ import annotations

import json
import logging
from typing import Any

import pytest
from cryptography.fernet import Fernet

from fastflow_contracts.bus.client import Bus
from fastflow_contracts.pipelines.format.json_schema import pipeline_schema
from fastflow_contracts.service.settings import BadSettings
from fastflow_runner.secrets import SecretBox
from tests.support.gateway import running_gateway
from tests.support.logged import logged

PATH = "/api/secrets/encrypt-for-pipeline"
KEY = Fernet.generate_key().decode()


async def test_a_value_becomes_a_token_that_the_runner_opens(bus: Bus, caplog: pytest.LogCaptureFixture) -> None:
    """Bound if pipeline and name are given; the value is in no log line."""
    async with running_gateway(bus, encryption_key=KEY) as client:
        with caplog.at_level(logging.DEBUG):
            bound = await client.post(PATH, json={"value": "hunter2", "pipeline": "shop", "name": "API_KEY"})
            unbound = await client.post(PATH, json={"value": "hunter2", "pipeline": None, "name": None})
        assert (bound.status, unbound.status) == (200, 200)
        tokens = {"API_KEY": bound.json["encrypted"], "B": unbound.json["encrypted"]}
        assert SecretBox(KEY).open(tokens, pipeline="shop") == {"API_KEY": "hunter2", "B": "hunter2"}
        assert SecretBox(KEY).unbound(tokens) == ("B",)
        assert bound.headers["Cache-Control"] == "no-store"
    assert "hunter2" not in logged(caplog)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"\xff",
        b'"hunter2"',
        b'{"value": 7}',
        b'{"value": ""}',
        b'{"value": "hunter2", "pipeline": "shop"}',
        b'{"value": "hunter2", "name": "A"}',
        b'{"value": "hunter2", "pipeline": "no/name", "name": "A"}',
        b'{"value": "hunter2", "pipeline": "shop", "name": "A=B"}',
        b'{"value": "hunter2", "other": 1}',
        b'{"value": "hunter2\\u0000"}',
    ],
)
async def test_a_value_that_cannot_be_a_secret_is_refused(bus: Bus, body: bytes) -> None:
    """422, with a sentence that does not repeat the value."""
    async with running_gateway(bus, encryption_key=KEY) as client:
        answer = await client.post(PATH, data=body)
        assert answer.status == 422
        assert "hunter2" not in answer.json["detail"]


async def test_without_a_key_the_response_says_what_to_do(bus: Bus) -> None:
    """409, not a token that no runner could open. An invalid key prevents the start."""
    async with running_gateway(bus) as client:
        answer = await client.post(PATH, json={"value": "hunter2"})
        assert answer.status == 409
        assert "fastflow keys new" in answer.json["detail"]
    with pytest.raises(BadSettings, match="Key 1"):
        async with running_gateway(bus, encryption_key="abc"):
            pass


async def test_the_schema_of_the_format_needs_no_token(bus: Bus) -> None:
    """Editors have none."""
    async with running_gateway(bus) as client:
        answer = await client.get("/api/schema/pipeline.json", anonymous=True)
        assert answer.status == 200
        found: Any = json.loads(answer.text)
        assert found == json.loads(json.dumps(pipeline_schema()))
        assert answer.headers["Content-Type"].startswith("application/schema+json")
