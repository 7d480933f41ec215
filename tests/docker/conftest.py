"""A connection to the real Docker daemon for every test in this folder."""

import os
from collections.abc import AsyncIterator

import pytest
from aiodocker import Docker
from aiodocker.exceptions import DockerError
from aiohttp import ClientError


@pytest.fixture
async def docker() -> AsyncIterator[Docker]:
    try:
        client = Docker()
    except ValueError as error:
        _unavailable(error)
    async with client:
        try:
            await client.system.info()
        except (DockerError, ClientError, OSError) as error:
            _unavailable(error)
        yield client


def _unavailable(error: Exception) -> None:
    if os.environ.get("FASTFLOW_REQUIRE_DOCKER") == "1":
        pytest.fail(f"no Docker daemon answers: {error}")
    pytest.skip(f"no Docker daemon answers: {error}")
