"""How a command finds its installation."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from fastflow.errors import BadUsage, CliError, NoSuchThing, NothingAnswers
from fastflow.local.address import read_address, write_address
from fastflow.remote import logins
from fastflow.remote.logins import Login
from fastflow.remote.target import Target, TargetOptions, find

HERE = "http://127.0.0.1:8000"
THERE = "https://flow.example.org"


@pytest.fixture(autouse=True)
def own_configuration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))


@pytest.fixture
def beside(tmp_path: Path) -> Path:
    """A folder two levels below the one in which `up` runs."""
    folder = tmp_path / "project" / "a" / "b"
    folder.mkdir(parents=True)
    data = tmp_path / "project" / ".fastflow"
    data.mkdir()
    write_address(data, f"{HERE}/")
    (data / "token").write_text("made-by-up\n")
    return folder


def found(here: Path, environ: Mapping[str, str] | None = None, **options: object) -> tuple[str, str | None]:
    target: Target = find(TargetOptions(**options), environ=environ or {}, here=here)  # type: ignore[arg-type]
    return target.url, target.token


def test_an_option_wins_over_the_environment_over_a_login_over_a_folder(beside: Path) -> None:
    """Each one gives address and token."""
    assert found(beside) == (HERE, "made-by-up")
    logins.write({"default": Login(THERE, "stored"), "other": Login("https://other", "its")})
    assert found(beside) == (THERE, "stored")
    environ = {"FASTFLOW_URL": "http://env:1", "FASTFLOW_TOKEN": "env"}
    assert found(beside, environ) == ("http://env:1", "env")
    assert found(beside, environ, url="http://option:1", token="given") == ("http://option:1", "given")
    assert found(beside, environ, on="other") == ("https://other", "its")
    assert found(beside, environ, data_dir=beside.parents[1] / ".fastflow") == (HERE, "made-by-up")


def test_a_token_goes_only_to_its_own_address(beside: Path) -> None:
    """Tokens of logins and of data folders."""
    logins.write({"prod": Login(THERE, "stored")})
    assert found(beside, url=f"{THERE}/") == (f"{THERE}/", "stored")
    assert found(beside, url=HERE) == (HERE, "made-by-up")
    assert found(beside, url="http://elsewhere:8000") == ("http://elsewhere:8000", None)


def test_a_token_may_come_from_a_file_or_from_the_environment_of_up(beside: Path, tmp_path: Path) -> None:
    """An unreadable file is an error."""
    (tmp_path / "token").write_text("from-file\n")
    assert found(beside, {"FASTFLOW_TOKEN_FILE": str(tmp_path / "token")}) == (HERE, "from-file")
    assert found(beside, {"FASTFLOW_ADMIN_TOKEN": "given-to-up"}) == (HERE, "given-to-up")
    with pytest.raises(BadUsage, match="FASTFLOW_TOKEN_FILE nowhere cannot be read"):
        found(beside, {"FASTFLOW_TOKEN_FILE": "nowhere"})


def test_a_data_folder_may_be_named_by_the_environment(beside: Path, tmp_path: Path) -> None:
    """Then no other folder is searched."""
    with pytest.raises(NothingAnswers, match=r"data has no gateway\.url"):
        found(beside, {"FASTFLOW_DATA_DIR": str(tmp_path / "data")})


@pytest.mark.parametrize(
    ("options", "kind", "says"),
    [
        ({"url": HERE, "on": "prod"}, BadUsage, "--url and --on"),
        ({"on": "prod", "data_dir": Path(".")}, BadUsage, "--on and --data-dir"),
        ({"on": "prod"}, NoSuchThing, "`fastflow login URL --on prod` stores it. There are: none."),
        ({"data_dir": Path("nowhere")}, NothingAnswers, "fastflow up"),
        ({}, NothingAnswers, "here or above.*fastflow up.*fastflow login URL.*--url"),
    ],
)
def test_an_unknown_installation_is_an_error_with_advice(
    options: dict[str, object], kind: type[CliError], says: str
) -> None:
    """Contradicting options, unknown names, nothing at all."""
    with pytest.raises(kind, match=says):
        found(Path("/nowhere/at/all"), **options)


def test_only_the_owner_can_read_the_logins() -> None:
    """A damaged file is an error, and removing the last login removes the file."""
    assert logins.read() == {}
    logins.write({"default": Login(HERE, "t")})
    assert logins.path().stat().st_mode & 0o077 == 0
    assert logins.read() == {"default": Login(HERE, "t")}
    logins.path().write_text("{")
    with pytest.raises(BadUsage, match="is damaged"):
        logins.read()
    logins.write({})
    assert not logins.path().exists()


def test_an_address_is_stored_without_its_slash(tmp_path: Path) -> None:
    """Without a file the address is None."""
    assert read_address(tmp_path) is None
    write_address(tmp_path, f"{HERE}/")
    assert read_address(tmp_path) == HERE
