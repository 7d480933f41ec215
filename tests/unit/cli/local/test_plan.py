"""What ``fastflow up`` plans from options and environment."""

from __future__ import annotations

from pathlib import Path

import pytest

from fastflow.errors import BadUsage
from fastflow.local.plan import DEFAULT_PORT, UpOptions, make_plan


@pytest.fixture
def here(tmp_path: Path) -> Path:
    (tmp_path / "pipelines").mkdir()
    return tmp_path


def test_the_port_of_a_pods_service_is_not_ours(here: Path) -> None:
    """The default port is taken then, and no service hears of the variables."""
    plan = make_plan(
        UpOptions(), {"FASTFLOW_PORT": "tcp://10.0.0.12:80", "FASTFLOW_SERVICE_HOST": "10.0.0.12"}, here=here
    )
    assert plan.port == DEFAULT_PORT
    assert plan.environ["FASTFLOW_PORT"] == str(DEFAULT_PORT)
    assert "FASTFLOW_SERVICE_HOST" not in plan.environ


def test_user_and_password_of_the_bus_come_from_settings_too(here: Path) -> None:
    """Also for an address that is an option."""
    login = {"FASTFLOW_NATS_USER": "op@corp", "FASTFLOW_NATS_PASSWORD": "p#w/d%1"}
    wanted = "nats://op%40corp:p%23w%2Fd%251@host:4222"
    assert make_plan(UpOptions(nats_url="nats://host:4222"), login, here=here).nats_url == wanted
    assert make_plan(UpOptions(), login | {"FASTFLOW_NATS_URL": "nats://host:4222"}, here=here).nats_url == wanted
    assert make_plan(UpOptions(), login, here=here).nats_url is None


def test_an_address_that_is_not_encoded_says_what_to_do(here: Path) -> None:
    """It names the settings, and not the password."""
    with pytest.raises(BadUsage, match="FASTFLOW_NATS_PASSWORD") as refusal:
        make_plan(UpOptions(nats_url="nats://op:p#w/d@host:4222"), {}, here=here)
    assert "p#w" not in str(refusal.value)
