"""From settings to the rules for packages."""

from __future__ import annotations

import pytest

from fastflow_contracts.service.settings import BadSettings, load
from fastflow_runner.backend.packages import supply as supply_of
from fastflow_runner.environments.environments import EnvironmentRequest
from fastflow_runner.environments.store import docker_place, environment_key
from fastflow_runner.environments.supply import ANY_SUPPLY, Supply
from fastflow_runner.environments.variables import access
from fastflow_runner.settings import RunnerSettings
from fastflow_syncer.settings import SyncerSettings

PLACE = docker_place(image="i", base_image="b", volume="v", network="none", architecture="x")


def supply(**environ: str) -> Supply:
    settings = load(RunnerSettings, environ)
    return supply_of(settings, access(environ, PLACE, settings.index_credentials))


def test_nothing_is_demanded_by_default() -> None:
    """And environments keep their keys."""
    assert supply() == ANY_SUPPLY
    assert ANY_SUPPLY.mark == ""
    assert environment_key(EnvironmentRequest("3.12"), PLACE) is not None


def test_hashes_imply_that_nothing_is_built() -> None:
    """What a build fetches has no hash."""
    assert supply(FASTFLOW_REQUIRE_HASHES="yes").arguments == ("--no-build", "--require-hashes")
    assert supply(FASTFLOW_NO_BUILD="yes").arguments == ("--no-build",)


@pytest.mark.parametrize(
    ("environ", "strange"),
    [
        ({}, "the index that uv knows by itself"),
        (
            {"UV_DEFAULT_INDEX": "https://corp.example/simple", "UV_INDEX": "x=https://x.example/y"},
            "https://x.example/y",
        ),
    ],
)
def test_the_runners_own_index_must_be_allowed(environ: dict[str, str], strange: str) -> None:
    """Else packages would come from where they must not, with no pipeline naming it."""
    with pytest.raises(BadSettings, match="set UV_DEFAULT_INDEX to") as bad:
        supply(FASTFLOW_ALLOWED_INDEXES="corp.example", **environ)
    assert strange in str(bad.value)
    assert supply(FASTFLOW_ALLOWED_INDEXES="corp.example", UV_DEFAULT_INDEX="https://u:p@corp.example/simple")


def test_a_login_without_an_address_is_refused_and_not_shown() -> None:
    """The setting says how it must look."""
    with pytest.raises(BadSettings) as bad:
        load(RunnerSettings, {"FASTFLOW_INDEX_CREDENTIALS": "hunter2"})
    assert "hunter2" not in str(bad.value)


def test_a_syncer_knows_the_allowed_indexes() -> None:
    """So that a pipeline has a problem before it runs."""
    settings = load(SyncerSettings, {"FASTFLOW_ALLOWED_INDEXES": "corp.example, /opt/wheels"})
    assert settings.folder_limits.allowed_indexes == ("corp.example", "/opt/wheels")
