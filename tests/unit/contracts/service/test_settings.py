"""Settings from the environment: accepted values, and the errors for others."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import msgspec
import pytest

from fastflow.local.settings_table import SETTINGS
from fastflow_contracts.service.foreign_settings import TAKEN, foreign
from fastflow_contracts.service.settings import BadSettings, Env, LogLevel, fields, load, names, without_service_links
from fastflow_syncer.settings import SyncerSettings


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """One field of every kind."""

    slots: Annotated[int, Env("SLOTS", "How many.", least=1, most=99)] = 10
    pause_s: Annotated[float, Env("PAUSE", "Seconds.", least=0)] = 1.0
    metrics: Annotated[bool, Env("METRICS", "Whether.")] = True
    sandbox: Annotated[Literal["auto", "docker"], Env("SANDBOX", "Where.")] = "auto"
    log_level: Annotated[LogLevel, Env("LOG_LEVEL", "How much.")] = "INFO"
    token: Annotated[str, Env("TOKEN_OF_MINE", "Who.", secret=True)] = ""


def test_values_are_read_as_people_write_them(tmp_path: Path) -> None:
    """Words for yes and no, choices in any case, any value from a file; an empty one is not set."""
    (tmp_path / "token").write_text("secret\n")
    environ = {
        "SLOTS": "1",
        "PAUSE": "0",
        "METRICS": "Off",
        "SANDBOX": "",
        "LOG_LEVEL": "debug",
        "TOKEN_OF_MINE_FILE": str(tmp_path / "token"),
    }
    expected = Settings(slots=1, pause_s=0.0, metrics=False, log_level="DEBUG", token="secret")
    assert load(Settings, environ) == expected


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("SLOTS", "0", "SLOTS '0': it must be at least 1 and at most 99."),
        ("SLOTS", "100", "at most 99"),
        ("SLOTS", "many", "SLOTS 'many': Expected `int`"),
        ("PAUSE", "-0.5", "PAUSE '-0.5': it must be at least 0."),
        ("PAUSE", "nan", "finite"),
        ("PAUSE", "inf", "finite"),
        ("METRICS", "perhaps", "METRICS 'perhaps': Expected `bool`"),
        ("SANDBOX", "vm", "SANDBOX 'vm': it must be one of auto, docker."),
        ("LOG_LEVEL", "loud", "it must be one of DEBUG, INFO, WARNING, ERROR."),
        ("TOKEN_OF_MINE_FILE", "/nowhere/token", "TOKEN_OF_MINE_FILE /nowhere/token cannot be read: No such file"),
        ("FASTFLOW_SLOT", "1", "FASTFLOW_SLOT is not a setting"),
    ],
)
def test_a_value_that_cannot_be_used_is_refused_with_what_is_accepted(name: str, value: str, words: str) -> None:
    """The service does not start, and the user sees no traceback."""
    with pytest.raises(BadSettings) as raised:
        load(Settings, {name: value})
    assert words in str(raised.value)


@pytest.mark.parametrize("service", SETTINGS)
def test_no_number_of_a_service_may_be_negative(service: str) -> None:
    """Every number has its bounds where it is declared."""
    struct = SETTINGS[service]
    for field in fields(struct):
        if field.type in (int, float):
            with pytest.raises(BadSettings, match=field.env.name):
                load(struct, {field.env.name: "-1"})


class Ported(msgspec.Struct, frozen=True, kw_only=True):
    """A setting with the name that another tool has for it."""

    token: Annotated[str, Env("TOKEN_OF_MINE", "Who.", secret=True, also="TOKEN_OF_THEIRS")] = ""


def test_a_setting_may_have_another_tools_name(tmp_path: Path) -> None:
    """Also as a file; both are fine if they agree, and named if they do not."""
    (tmp_path / "token").write_text("\ufeffsecret\r\n")
    assert load(Ported, {"TOKEN_OF_THEIRS": "secret"}).token == "secret"
    assert load(Ported, {"TOKEN_OF_THEIRS_FILE": str(tmp_path / "token")}).token == "secret"
    assert load(Ported, {"TOKEN_OF_THEIRS": "same", "TOKEN_OF_MINE": "same"}).token == "same"
    with pytest.raises(BadSettings, match="TOKEN_OF_MINE and TOKEN_OF_THEIRS differ") as raised:
        load(Ported, {"TOKEN_OF_THEIRS": "one-secret", "TOKEN_OF_MINE": "two-secret"})
    assert "-secret" not in str(raised.value)
    with pytest.raises(BadSettings, match="TOKEN_OF_THEIRS_FILE /nowhere cannot be read"):
        load(Ported, {"TOKEN_OF_THEIRS_FILE": "/nowhere"})


def test_settings_of_other_tools_are_taken_or_named() -> None:
    """None is ignored in silence."""
    syncer = load(
        SETTINGS["syncer"],
        {
            "GIT_SYNC_TOKEN": "token",
            "GIT_SYNC_DEPLOY_KEY": "key",
            "AUTO_SYNC_INTERVAL": "300",
            "AUTO_SYNC_ENABLED": "false",
        },
    )
    assert isinstance(syncer, SyncerSettings)
    assert (syncer.git_token, syncer.git_ssh_key, syncer.git_sync_interval_s) == ("token", "key", 300)
    assert not syncer.auto_sync
    environ = {"LOG_RETENTION_DAYS": "30", "AUTO_SYNC_JITTER": "1", "GIT_SYNC_REPO_URL": "x", "UV_CACHE_DIR": "/c"}
    assert foreign({**environ, "GIT_SYNC_TOKEN_FILE": "x", "LOG_LEVEL": "INFO", "LOG_MAX_SIZE_MB": ""}).keys() == {
        *environ
    }
    assert names(*SETTINGS.values()) >= TAKEN
    assert not names(*SETTINGS.values()) & foreign(dict.fromkeys(names(*SETTINGS.values()), "x")).keys()


@pytest.mark.parametrize("service", ["FASTFLOW", "FASTFLOW_GATEWAY", "FASTFLOW_NATS"])
def test_variables_of_a_pod_are_ignored(service: str) -> None:
    """Kubernetes sets them for each service beside it; one of them has the name of our port."""
    links = {
        f"{service}_SERVICE_HOST": "10.0.0.11",
        f"{service}_SERVICE_PORT": "8000",
        f"{service}_SERVICE_PORT_HTTP": "8000",
        f"{service}_PORT": "tcp://10.0.0.11:8000",
        f"{service}_PORT_8000_TCP": "tcp://10.0.0.11:8000",
        f"{service}_PORT_8000_TCP_PROTO": "tcp",
        f"{service}_PORT_8000_TCP_PORT": "8000",
        f"{service}_PORT_8000_TCP_ADDR": "10.0.0.11",
        f"{service}_PORT_53_UDP_ADDR": "10.0.0.11",
    }
    for struct in SETTINGS.values():
        assert load(struct, links) == load(struct, {})
    assert without_service_links(links | {"FASTFLOW_PORT": "9000", "HOME_PORT": "tcp://x"}) == {
        "FASTFLOW_PORT": "9000",
        "HOME_PORT": "tcp://x",
    }


@pytest.mark.parametrize("name", ["FASTFLOW_POTR", "FASTFLOW_SERVICE", "FASTFLOW_GATEWAY_PORT", "FASTFLOW_PORT_8000"])
def test_a_misspelt_setting_is_a_mistake_even_if_it_resembles_a_variable_of_a_pod(name: str) -> None:
    """A misspelt setting is never ignored."""
    with pytest.raises(BadSettings, match=f"{name} is not a setting"):
        load(SETTINGS["gateway"], {name: "8000"}, also_known={"FASTFLOW_PORT"})
