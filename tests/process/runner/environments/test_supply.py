"""What an operator can demand of packages: by hash only, from named indexes only, nothing built. Real uv."""

from __future__ import annotations

import hashlib
import os
import subprocess
from pathlib import Path

import pytest
from uv import find_uv_bin

from fastflow_runner.environments.environments import EnvironmentFailed, EnvironmentRequest
from fastflow_runner.environments.store import requests_of
from fastflow_runner.environments.supply import ANY_SUPPLY, Supply
from tests.packages import make_sdist, make_wheel
from tests.process.runner.environments.test_environments import said_by
from tests.process.runner.environments.test_index_logins import OWN_VERSION, Workshop, asking, workshop
from tests.support.folders import Files, bundle_of, package

__all__ = ["workshop"]

NO_BUILD = Supply(builds=False)
HASHES = Supply(requires_hashes=True)
PROJECT = "[project]\nname = 'p'\nversion = '1'\nrequires-python = '>=3.11'\ndependencies = ['mine']\n"


@pytest.fixture
def mine(workshop: Workshop) -> Path:
    return make_wheel(workshop.private.directory, "mine", "1.0", "WORDS = 'mine'")


def request_of(files: Files) -> EnvironmentRequest:
    (request,) = requests_of(OWN_VERSION, bundle_of({"main.py": "", **files}))
    return request


def pinned(wheel: Path) -> str:
    return f"mine==1.0 --hash=sha256:{hashlib.sha256(wheel.read_bytes()).hexdigest()}"


def lock(workshop: Workshop, folder: Path, text: str = PROJECT) -> str:
    """Return the ``uv.lock`` that uv makes of a project, as the author of a pipeline makes it."""
    folder.mkdir()
    (folder / "pyproject.toml").write_text(text)
    login = workshop.private.address.replace("//", "//reader:hunter2@")
    env = {**os.environ, "UV_NO_CACHE": "1", "UV_INDEX_CORP_USERNAME": "reader", "UV_INDEX_CORP_PASSWORD": "hunter2"}
    if "tool.uv" not in text:
        env["UV_DEFAULT_INDEX"] = f"{login}/simple"
    subprocess.run([find_uv_bin(), "lock", "--quiet"], cwd=folder, env=env, check=True)
    return (folder / "uv.lock").read_text()


@pytest.mark.usefixtures("mine")
async def test_a_stranger_is_refused_and_what_is_allowed_is_installed(workshop: Workshop) -> None:
    """The refusal names the line, the address and what is allowed; nobody was asked."""
    supply = Supply((workshop.private.address.removeprefix("http://"),))
    with pytest.raises(EnvironmentFailed) as refused:
        await workshop.make(asking(f"mine\n--extra-index-url {workshop.stranger.address}/simple"), supply)
    assert str(refused.value) == (
        f"requirements.txt:2: `{workshop.stranger.address}/simple` is not among the indexes of this installation; "
        f"use one of: {supply.allowed_indexes[0]}."
    )
    assert workshop.stranger.asked == []
    made = await workshop.make(asking(f"mine\n--extra-index-url {workshop.private.address}/simple"), supply)
    assert said_by(made.python, "import mine; print(mine.WORDS)") == "mine"


async def test_nothing_is_built_where_that_is_forbidden(workshop: Workshop) -> None:
    """The failure says what to do, and no code of the package ran."""
    marker = workshop.store.parent / "ran"
    make_sdist(workshop.private.directory, "built", "1.0", f"def source(): open({str(marker)!r}, 'w')\n")
    with pytest.raises(EnvironmentFailed, match="builds nothing from source; name a release that has a wheel"):
        await workshop.make(asking("built"), NO_BUILD)
    assert not marker.exists()


@pytest.mark.parametrize("line", ["-e ./local", "./local", "git+https://127.0.0.1:1/x.git", "x @ git+file:///x"])
async def test_what_is_always_built_is_refused_at_once(workshop: Workshop, line: str) -> None:
    """uv builds some of it in spite of ``--no-build``."""
    request = request_of({"requirements.txt": line, **package("local", "local", "")})
    with pytest.raises(EnvironmentFailed, match="must be built from source"):
        await workshop.make(request, NO_BUILD)


@pytest.mark.usefixtures("mine")
async def test_wheels_are_installed_where_nothing_is_built(workshop: Workshop) -> None:
    """Also for a project with settings of uv, which has a sandbox of its own."""
    index = f"[[tool.uv.index]]\nname = 'corp'\nurl = '{workshop.private.address}/simple'\n"
    for request in (asking("mine"), request_of({"pyproject.toml": PROJECT + index})):
        made = await workshop.make(request, NO_BUILD)
        assert said_by(made.python, "import mine; print(mine.WORDS)") == "mine"


async def test_only_what_has_a_hash_is_installed(workshop: Workshop, mine: Path) -> None:
    """A requirement without one fails in uv's words; with the right one it is installed."""
    with pytest.raises(EnvironmentFailed, match="--require-hashes"):
        await workshop.make(asking("mine==1.0"), HASHES)
    with pytest.raises(EnvironmentFailed, match="Hash mismatch"):
        await workshop.make(asking(f"mine==1.0 --hash=sha256:{'0' * 64}"), HASHES)
    made = await workshop.make(asking(pinned(mine)), HASHES)
    assert said_by(made.python, "import mine; print(mine.WORDS)") == "mine"


@pytest.mark.usefixtures("mine")
async def test_the_hashes_of_a_lock_count(workshop: Workshop, tmp_path: Path) -> None:
    """A project needs its lock, with a hash for every package, and the lock is not made anew."""
    locked = lock(workshop, tmp_path / "project")
    login = workshop.private.address.replace("//", "//reader:hunter2@")
    address = {"UV_DEFAULT_INDEX": f"{login}/simple", "UV_INDEX": ""}
    made = await workshop.make(request_of({"pyproject.toml": PROJECT, "uv.lock": locked}), HASHES, **address)
    assert said_by(made.python, "import mine; print(mine.WORDS)") == "mine"
    with pytest.raises(EnvironmentFailed, match=r"There is no uv\.lock"):
        await workshop.make(request_of({"pyproject.toml": PROJECT}), HASHES, **address)
    bare = locked.replace("hash = ", "was = ")
    with pytest.raises(EnvironmentFailed, match="The package mine has no hash"):
        await workshop.make(request_of({"pyproject.toml": PROJECT, "uv.lock": bare}), HASHES, **address)


@pytest.mark.usefixtures("mine")
@pytest.mark.parametrize("supply", [HASHES, NO_BUILD, ANY_SUPPLY])
async def test_a_lock_of_a_private_index_stays_as_it_is(workshop: Workshop, tmp_path: Path, supply: Supply) -> None:
    """A project with settings of uv is made without the login at hand; its lock still says what to install."""
    index = f"[[tool.uv.index]]\nname = 'corp'\nurl = '{workshop.private.address}/simple'\ndefault = true\n"
    locked = lock(workshop, tmp_path / "project", PROJECT + index)
    make_wheel(workshop.private.directory, "mine", "2.0", "WORDS = 'newer'")
    made = await workshop.make(request_of({"pyproject.toml": PROJECT + index, "uv.lock": locked}), supply)
    assert said_by(made.python, "import mine; print(mine.WORDS)") == "mine"


async def test_what_a_script_names_itself_has_no_hash(workshop: Workshop, mine: Path) -> None:
    """Neither has the kernel that we add to a notebook: it must be in the requirements."""
    with pytest.raises(EnvironmentFailed, match="`mine` has no hash; name it"):
        await workshop.make(EnvironmentRequest(OWN_VERSION, pinned(mine).encode(), ("mine",)), HASHES)


@pytest.mark.usefixtures("mine")
async def test_an_environment_from_before_the_rule_is_not_used(workshop: Workshop) -> None:
    """What was installed without a hash is not there for a runner that demands one."""
    await workshop.make(asking("mine==1.0"))
    with pytest.raises(EnvironmentFailed, match="--require-hashes"):
        await workshop.make(asking("mine==1.0"), HASHES)
