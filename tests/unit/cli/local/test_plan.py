"""What ``fastflow up`` plans from options and environment."""

from __future__ import annotations

from pathlib import Path

import pytest

from fastflow.errors import BadUsage, NoSuchThing
from fastflow.local.plan import DEFAULT_PORT, UpOptions, dashboard, make_plan, with_values


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


def test_options_win_over_the_environment(tmp_path: Path) -> None:
    """The services get the values of the command line."""
    (tmp_path / "mine").mkdir()
    environ = {
        "FASTFLOW_PORT": "9",
        "PIPELINES_DIR": "theirs",
        "GIT_REPO_URL": "file:///r",
        "FASTFLOW_SANDBOX": "docker",
    }
    plan = make_plan(UpOptions(Path("mine"), port=7, sandbox="process"), environ, here=tmp_path)
    assert (plan.port, plan.environ["FASTFLOW_PORT"], plan.environ["FASTFLOW_SANDBOX"]) == (7, "7", "process")
    assert (plan.environ["PIPELINES_DIR"], plan.environ["GIT_REPO_URL"]) == (str(tmp_path / "mine"), "")
    assert plan.source == "mine"


def test_a_repository_takes_the_place_of_a_folder(tmp_path: Path) -> None:
    """With GIT_REPO_URL no folder has to exist."""
    plan = make_plan(UpOptions(), {"GIT_REPO_URL": "https://host/repo.git"}, here=tmp_path)
    assert plan.source == "https://host/repo.git"
    assert plan.environ["GIT_REPO_URL"] == "https://host/repo.git"


def test_each_data_folder_has_its_own_runner_id(tmp_path: Path) -> None:
    """Two folders on one bus have different ids; a folder keeps its id."""
    (tmp_path / "pipelines").mkdir()
    one, two, again = (
        make_plan(UpOptions(data_dir=Path(name)), {}, here=tmp_path).environ for name in ("one", "two", "one")
    )
    assert one["FASTFLOW_RUNNER_ID"] != two["FASTFLOW_RUNNER_ID"]
    assert one["FASTFLOW_RUNNER_ID"] == again["FASTFLOW_RUNNER_ID"]


def test_without_pipelines_the_first_three_lines_are_shown(tmp_path: Path) -> None:
    """A new user has no default folder yet."""
    with pytest.raises(NoSuchThing, match=r"mkdir -p pipelines/hello"):
        make_plan(UpOptions(), {}, here=tmp_path)
    with pytest.raises(NoSuchThing, match="no folder typo"):
        make_plan(UpOptions(Path("typo")), {}, here=tmp_path)


def test_a_pipeline_is_not_mistaken_for_a_folder_of_pipelines(tmp_path: Path) -> None:
    """A folder one level too deep is an error, not an empty installation."""
    (tmp_path / "hello").mkdir()
    (tmp_path / "hello" / "main.py").write_text("")
    with pytest.raises(BadUsage, match="folder above"):
        make_plan(UpOptions(Path("hello")), {}, here=tmp_path)


def test_published_subjects_are_of_the_embedded_bus(here: Path) -> None:
    assert make_plan(UpOptions(publish=("orders.>",)), {}, here=here).published == ("orders.>",)
    with pytest.raises(BadUsage, match="fastflow bus init"):
        make_plan(UpOptions(nats_url="nats://bus:4222", publish=("orders.>",)), {}, here=here)


def test_a_value_replaces_the_form_that_names_a_file() -> None:
    """Otherwise the ``_FILE`` variable would win."""
    assert with_values({"A_FILE": "/f", "B": "1"}, A="2") == {"A": "2", "B": "1"}


def test_the_dashboard_address_can_be_opened() -> None:
    """An address for all interfaces is shown as one that a browser can reach."""
    assert dashboard("127.0.0.1", 8000) == "http://127.0.0.1:8000/"
    assert dashboard("0.0.0.0", 80) == "http://127.0.0.1:80/"
    assert dashboard("::1", 80) == "http://[::1]:80/"
