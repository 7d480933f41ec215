"""Environments in containers: who can write to the store, and what a run sees of it."""

from __future__ import annotations

import asyncio
import io
import platform
import tarfile
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import uuid4

import msgspec
import pytest
from aiodocker import Docker
from aiodocker.volumes import DockerVolume

from fastflow_runner.environments.environments import (
    EnvironmentFailed,
    EnvironmentRequest,
    Environments,
    ReadyEnvironment,
    volume_identity,
)
from fastflow_runner.environments.store import Place, docker_place, requests_of
from fastflow_runner.environments.variables import Access, access
from fastflow_runner.sandbox import USER, SandboxSpec
from fastflow_runner.sandbox.docker.image import WORKER_BASE_IMAGE, ensure_worker_image
from fastflow_runner.sandbox.docker.sandboxes import DockerSandboxes
from fastflow_runner.sandbox.events import Exited, ScriptOutput
from fastflow_runner.sandbox.job import SandboxJob
from fastflow_runner.sandbox.session import Session
from tests.packages import OTHER_VERSION, copy_interpreter, copy_running_interpreter, make_sdist, make_wheel
from tests.support.folders import bundle_of, package
from tests.support.package_index import PackageIndex

pytestmark = pytest.mark.docker


class Workshop:
    """A separate volume with separate sandboxes."""

    def __init__(self, docker: Docker, image: str) -> None:
        self.docker = docker
        self.volume = f"fastflow-test-{uuid4()}"
        self.sandboxes = DockerSandboxes(scope=self.volume)
        self.place: Place = docker_place(
            image=image, base_image=WORKER_BASE_IMAGE, volume=self.volume, network="none", architecture="test"
        )
        self.said: list[str] = []

    def environments(self, budget_bytes: int = 0) -> Environments:
        return Environments(
            self.sandboxes,
            self.place,
            runner="test",
            identity=volume_identity(self.docker, self.volume),
            access=Access({"UV_OFFLINE": "1"}),
            budget_bytes=budget_bytes,
        )

    async def say(self, text: str) -> None:
        self.said += text.split("\n")

    async def fill(self, source: Path, target: str) -> None:
        """Put a directory into the store, as its owner would."""

        def owned(member: tarfile.TarInfo) -> tarfile.TarInfo:
            member.uid = member.gid = USER
            member.mode |= 0o755 if member.isdir() else 0o644
            return member

        archive = io.BytesIO()
        with tarfile.open(fileobj=archive, mode="w") as tar:
            tar.add(source, target, filter=owned)
        host = {"Mounts": [{"Type": "volume", "Source": self.volume, "Target": "/store"}]}
        container = await self.docker.containers.create({"Image": self.place.image, "HostConfig": host})
        try:
            archive.seek(0)
            await container.put_archive("/store", archive)  # type: ignore[no-untyped-call]
        finally:
            await container.delete()

    async def shell(self, command: str) -> str:
        """Return the output of a shell that runs as the store's owner."""
        host = {"Mounts": [{"Type": "volume", "Source": self.volume, "Target": "/store"}]}
        config = {"Image": self.place.image, "HostConfig": host, "Entrypoint": ["sh", "-ec"], "Cmd": [command]}
        container = await self.docker.containers.run(config)
        try:
            await container.wait()
            return "".join(await container.log(stdout=True, stderr=True))  # type: ignore[no-untyped-call]
        finally:
            await container.delete(force=True)

    async def run(self, prepared: ReadyEnvironment, source: str, *, printing: asyncio.Event | None = None) -> str:
        """Return the output of a run with this environment. Set *printing* at the first output."""
        spec = SandboxSpec(name=f"ff-{uuid4()}", image=self.place.image, mounts=self.place.readable)
        channel = await self.sandboxes.open(spec)
        holds = (prepared.hold,) if prepared.hold else ()
        job = SandboxJob(argv=("{python}", "-uc", source), cwd="run", python=prepared.python, holds=holds)
        printed = b""
        async for event in await Session.start(channel, job):
            if isinstance(event, ScriptOutput):
                printed += event.data
                if printing is not None:
                    printing.set()
            elif isinstance(event, Exited):
                assert event.exit_code == 0, (event, printed)
        await channel.close()
        await self.sandboxes.remove(spec.name)
        return printed.decode().strip()

    async def clear(self) -> None:
        left = await self.sandboxes.held()
        for held in left:
            await self.sandboxes.remove(held.name)
        await self.sandboxes.close()
        if await volume_identity(self.docker, self.volume)():
            await DockerVolume(self.docker, self.volume).delete()  # type: ignore[no-untyped-call]
        assert left == ()


@pytest.fixture
async def workshop(docker: Docker) -> AsyncIterator[Workshop]:
    workshop = Workshop(docker, await ensure_worker_image(docker, progress=lambda line: None))
    yield workshop
    await workshop.clear()


def request(*packages: str, version: str = "3.11") -> EnvironmentRequest:
    return EnvironmentRequest(version, "\n".join(["--no-index", "--find-links /store/links", *packages]).encode())


async def test_without_one_of_uvs_own_the_images_interpreter_is_used(workshop: Workshop) -> None:
    """The record says so, and not the script's log. It costs one try an hour, and it is `python` there, too."""
    environments, asked = workshop.environments(), EnvironmentRequest("3.11")
    assert environments.ready(asked) is None
    made = await environments.prepare(asked, say=workshop.say)
    assert made.python is None
    assert made.python_version == "3.11 (the sandbox's own)"
    assert workshop.said == []
    assert environments.ready(asked) is not None
    ask = "import shutil, sys; print(sys.executable, sys.prefix, shutil.which('python'))"
    assert await workshop.run(made, ask) == "/usr/bin/python3 /usr /usr/local/bin/python"


async def test_an_interpreter_of_uvs_own_goes_before_the_images(workshop: Workshop, tmp_path: Path) -> None:
    """For the default version and the same version by name. It can do what Debian's old release cannot."""
    copy_running_interpreter(tmp_path / "python")
    await workshop.fill(tmp_path / "python", "python")
    environments = workshop.environments()
    made = await environments.prepare(EnvironmentRequest(""), say=workshop.say)
    assert environments.ready(EnvironmentRequest("3.11")) == environments.ready(EnvironmentRequest(""))
    assert made.python_version.startswith(platform.python_version()), workshop.said
    ask = """
import platform, shutil, sys, tarfile, venv, ensurepip
print(platform.python_version(), hasattr(tarfile, "data_filter"), shutil.which("python") == sys.executable)
"""
    assert await workshop.run(made, ask) == f"{platform.python_version()} True True"
    again = workshop.environments()
    keeping = asyncio.create_task(again.keep())
    while (found := again.ready(EnvironmentRequest(""))) is None:
        await asyncio.sleep(0.01)
    keeping.cancel()
    await asyncio.gather(keeping, return_exceptions=True)
    assert found.python_version == made.python_version


@pytest.mark.parametrize("name", ["-e ./mine\n", "-r sub/a.txt\n--find-links wheels\n"])
async def test_the_folders_own_packages_are_installed(workshop: Workshop, tmp_path: Path, name: str) -> None:
    """Built by a user of their own, or taken as wheels; the run reads them after the preparer is gone."""
    files = {
        "main.py": "",
        "requirements.txt": f"--no-index\n{name}",
        "sub/a.txt": "-c ../limits.txt\n./mine\n",
        "limits.txt": "mine<2\n",
        "wheels/mine-1.0-py3-none-any.whl": make_wheel(tmp_path, "mine", "1.0", "WORDS = 'mine'").read_bytes(),
        **package("mine", "mine", "WORDS = 'mine'"),
    }
    asked, *_ = requests_of("3.11", bundle_of(files))
    made = await workshop.environments().prepare(asked, say=workshop.say)
    assert await workshop.run(made, "import mine; print(mine.WORDS)") == "mine"


async def test_a_project_is_installed(workshop: Workshop) -> None:
    """With its own package and a local source, from the folder alone."""
    files = {
        "main.py": "",
        **package("", "own", "WORDS = 'own'", extra="dependencies = ['mine']\n[tool.uv.sources]\nmine.path = 'mine'"),
        **package("mine", "mine", "WORDS = 'mine'"),
    }
    asked, *_ = requests_of("3.11", bundle_of(files))
    made = await workshop.environments().prepare(asked, say=workshop.say)
    assert await workshop.run(made, "import mine, own; print(mine.WORDS, own.WORDS)") == "mine own"


@pytest.mark.promise("nothing to build")
async def test_a_run_reads_its_environment_and_writes_nothing(workshop: Workshop, tmp_path: Path) -> None:
    """Packages are compiled. No run can change them or add to the store, although it runs as the store's owner."""
    make_wheel(tmp_path, "greeting", "1.0", "WORDS = 'hello'")
    await workshop.fill(tmp_path, "links")
    prepared = await workshop.environments().prepare(request("greeting"), say=workshop.say)
    printed = await workshop.run(
        prepared,
        "import greeting, os\n"
        "print(greeting.WORDS, os.path.exists(greeting.__cached__), os.getuid())\n"
        "for path in (greeting.__file__, '/store/new', '/store/cache/new'):\n"
        "    try: open(path, 'a'); print('wrote', path)\n"
        "    except OSError as error: print(error.strerror)\n",
    )
    assert printed.split("\n") == [f"hello True {USER}", *["Read-only file system"] * 3]


HOSTILE = """
import os, pathlib, shutil
store = pathlib.Path("/store")
victim = next(store.glob("trees/*/lib/python3*/site-packages/greeting.py"))
env = next(store.glob("envs/*"))
def tree(path): return store / "trees" / path.relative_to(store / "trees").parts[0]
def replace_env():
    os.symlink("../trees", store / "envs" / "aside"); os.replace(store / "envs" / "aside", env)
attempts = {
    "write a package": lambda: victim.write_text("WORDS = 'evil'"),
    "add a package": lambda: victim.with_name("evil.py").write_text(""),
    "replace a package": lambda: (victim.unlink(), victim.write_text("")),
    "rename a tree": lambda: tree(victim).rename(store / "trees" / "mine"),
    "delete a tree": lambda: shutil.rmtree(tree(victim)),
    "open a tree": lambda: tree(victim).chmod(0o777),
    "link an environment": lambda: os.symlink("../trees", store / "envs" / ("0" * 32)),
    "unlink an environment": env.unlink,
    "replace an environment": replace_env,
    "write the cache": lambda: (store / "cache" / "evil").write_text(""),
    "read the cache": lambda: os.listdir(store / "cache"),
    "add an interpreter": lambda: (store / "python" / "evil").mkdir(),
    "add to the links": lambda: (store / "links" / "evil").write_text(""),
    "add to the store": lambda: (store / "evil").mkdir(),
}
def source():
    done = []
    for name, attempt in attempts.items():
        try: attempt(); done.append(name)
        except PermissionError: pass
    return f"DONE, BUILDER = {done!r}, {os.getuid()}"
"""


async def test_a_build_can_change_nothing_but_its_own_tree(workshop: Workshop, tmp_path: Path) -> None:
    """Foreign code runs during a build as a user that owns nothing in the store. Other environments stay unchanged."""
    make_wheel(tmp_path, "greeting", "1.0", "WORDS = 'hello'")
    make_sdist(tmp_path, "hostile", "1.0", HOSTILE)
    await workshop.fill(tmp_path, "links")
    environments = workshop.environments()
    neighbour = await environments.prepare(request("greeting"), say=workshop.say)
    hostile = await environments.prepare(request("hostile"), say=workshop.say)

    done, builder = (await workshop.run(hostile, "import hostile; print(hostile.DONE, hostile.BUILDER)")).rsplit(" ", 1)
    assert done == "[]"
    assert int(builder) not in (0, USER)
    assert await workshop.run(neighbour, "import greeting; print(greeting.WORDS)") == "hello"


async def test_an_editable_install_is_never_built_by_the_stores_owner(workshop: Workshop, tmp_path: Path) -> None:
    """uv builds it in spite of ``--no-build``, so this also happens in the sandbox of a build."""
    project = tmp_path / "project"
    project.mkdir()
    sdist = make_sdist(tmp_path, "local", "1.0", "import os\ndef source(): return f'BUILDER = {os.getuid()}'")
    with tarfile.open(sdist) as tar:
        for member in tar:
            file = tar.extractfile(member)
            assert file is not None
            (project / Path(member.name).name).write_bytes(file.read())
    with (project / "backend.py").open("a") as backend:
        backend.write("\nbuild_editable = build_wheel\n")
    await workshop.fill(project, "links/project")
    prepared = await workshop.environments().prepare(request("-e /store/links/project"), say=workshop.say)
    assert int(await workshop.run(prepared, "import local; print(local.BUILDER)")) not in (0, USER)


async def test_another_version_of_python_comes_from_the_store(workshop: Workshop, tmp_path: Path) -> None:
    """An interpreter that uv manages in the volume runs in a container that mounts it read-only."""
    copy_interpreter(tmp_path)
    await workshop.fill(tmp_path, "python")
    prepared = await workshop.environments().prepare(EnvironmentRequest(OTHER_VERSION), say=workshop.say)
    printed = await workshop.run(
        prepared, "import sys, json, os, ssl; print(sys.version_info[:2], os.path.exists(json.__cached__))"
    )
    assert printed == f"{tuple(map(int, OTHER_VERSION.split('.')))} True"


async def test_an_impossible_requirement_fails_within_seconds(workshop: Workshop, tmp_path: Path) -> None:
    """The error is uv's, and no container remains."""
    await workshop.fill(tmp_path, "links")
    async with asyncio.timeout(30):
        with pytest.raises(EnvironmentFailed, match=r"^error: (.|\n)*no-such-package"):
            await workshop.environments().prepare(request("no-such-package"), say=workshop.say)


async def test_a_deleted_volume_is_noticed_and_filled_again(workshop: Workshop, tmp_path: Path) -> None:
    """The runner forgets the environments of a deleted volume and creates them again in the new one."""
    make_wheel(tmp_path, "greeting", "1.0", "")
    await workshop.fill(tmp_path, "links")
    environments = workshop.environments()
    await environments.prepare(request("greeting"), say=workshop.say)
    assert environments.ready(request("greeting"))

    await DockerVolume(workshop.docker, workshop.volume).delete()  # type: ignore[no-untyped-call]
    await asyncio.sleep(1)  # Docker reports a volume's age in whole seconds
    await workshop.fill(tmp_path, "links")
    prepared = await environments.prepare(request("greeting"), say=workshop.say)
    assert await workshop.run(prepared, "import greeting") == ""


async def test_an_image_that_is_missing_is_an_error_of_the_environment(workshop: Workshop) -> None:
    """Every failure of the preparer's sandbox raises the same kind of error."""
    workshop.place = msgspec.structs.replace(workshop.place, image="fastflow-worker:none")
    with pytest.raises(EnvironmentFailed, match="does not have the image"):
        await workshop.environments().prepare(request("greeting"), say=workshop.say)


async def test_an_environment_is_not_taken_from_a_run_in_another_container(workshop: Workshop, tmp_path: Path) -> None:
    """A run's lock, through its read-only mount, protects its environment from removal until the run is over."""
    make_wheel(tmp_path, "greeting", "1.0", "")
    await workshop.fill(tmp_path, "links")
    prepared = await workshop.environments().prepare(request("greeting"), say=workshop.say)
    await workshop.shell("touch -h -d @1 /store/envs/*; mkdir /store/wait")
    printing = asyncio.Event()
    source = "import greeting, os, time\nprint('begun')\nwhile os.path.exists('/store/wait'): time.sleep(0.05)"
    running = asyncio.create_task(workshop.run(prepared, source, printing=printing))
    await printing.wait()
    await workshop.environments(1).collect()
    assert (await workshop.shell("ls /store/envs")).strip() in str(prepared.python)

    await workshop.shell("rmdir /store/wait")
    assert await running == "begun"
    await workshop.environments(1).collect()
    assert await workshop.shell("ls /store/envs /store/trees") == "/store/envs:\n\n/store/trees:\n"


LOCK_ALL = """
import fcntl, os
print("begun")
for name in os.listdir("/store"):
    for mode, how in ((os.O_RDONLY, fcntl.LOCK_SH), (os.O_WRONLY, fcntl.LOCK_EX), (os.O_RDWR, fcntl.LOCK_EX)):
        try: fcntl.lockf(os.open("/store/" + name, mode), how | fcntl.LOCK_NB)
        except OSError: continue
        if how == fcntl.LOCK_EX: print("locked", name)
while os.path.exists("/store/wait"): __import__("time").sleep(0.05)
"""


async def test_a_script_cannot_lock_others_out(workshop: Workshop, tmp_path: Path) -> None:
    """It locks all that it can open, also with shared locks. Preparations and the collector do not wait for it."""
    make_wheel(tmp_path, "greeting", "1.0", "")
    make_wheel(tmp_path, "other", "1.0", "")
    await workshop.fill(tmp_path, "links")
    prepared = await workshop.environments().prepare(request("greeting"), say=workshop.say)
    await workshop.shell("mkdir /store/wait /store/trees/orphan; touch -d @1 /store/trees/orphan")
    printing = asyncio.Event()
    running = asyncio.create_task(workshop.run(prepared, LOCK_ALL, printing=printing))
    await printing.wait()
    await workshop.environments().prepare(request("other"), say=workshop.say)
    await workshop.environments(1).collect()
    assert "orphan" not in await workshop.shell("ls /store/trees")
    assert await workshop.shell("ls /store/cache") == ""
    await workshop.shell("rmdir /store/wait")
    assert await running == "begun"


HOSTILE_NAMES = """
import os
def source():
    os.chdir("/store/trees")
    for name in (b"x\\nforeign a b", b"foreign a zero", b"{", b"\\xff", b"x" * 255, b"\\x1b[2J"):
        os.mkdir(name)
        os.utime(name, (4e9, 4e9))
    os.mkdir("deep")
    os.chdir("deep")
    for _ in range(3000):
        os.mkdir("d" * 40)
        os.chdir("d" * 40)
    os.utime("/store/trees/deep", (1, 1))
    raise RuntimeError("enough")
"""


async def test_a_hostile_source_distribution_fails_its_own_run_only(workshop: Workshop, tmp_path: Path) -> None:
    """It leaves directories among the trees whose names look like a collector's words, and a bottomless one."""
    make_sdist(tmp_path, "hostile", "1.0", HOSTILE_NAMES)
    make_wheel(tmp_path, "greeting", "1.0", "")
    await workshop.fill(tmp_path, "links")
    environments = workshop.environments()
    with pytest.raises(EnvironmentFailed, match="enough"):
        await environments.prepare(request("hostile"), say=workshop.say)
    keeping = asyncio.create_task(environments.keep())
    assert len((await workshop.shell("ls /store/trees")).splitlines()) >= 7
    await environments.collect()
    assert await workshop.shell("ls /store/trees") == ""
    assert not keeping.done()
    keeping.cancel()
    await asyncio.gather(keeping, return_exceptions=True)
    await environments.prepare(request("greeting"), say=workshop.say)


SPY = """
import base64, glob, os
def read(path):
    try: return open(path, "rb").read()
    except OSError: return b""
def source():
    paths = [path for name in ("environ", "cmdline", "maps") for path in glob.glob(f"/proc/[0-9]*/{name}")]
    for folder in ("/work", "/tmp"):
        paths += filter(os.path.isfile, glob.glob(folder + "/**/*", recursive=True, include_hidden=True))
    opened = []
    for path in glob.glob("/proc/[0-9]*/mem"):
        try: os.close(os.open(path, os.O_RDONLY)); opened.append(read(path.replace("mem", "cmdline")))
        except OSError: pass
    found = [repr(dict(os.environ)).encode(), *map(read, paths)]
    return f"SEEN = {base64.b64encode(b' '.join(found)).decode()!r}\\nOPENED = {opened!r}"
"""


async def test_the_code_of_a_build_does_not_see_the_login_of_an_index(workshop: Workshop, tmp_path: Path) -> None:
    """Its source comes from the private index. No file, variable or memory that it can read has the password."""
    index = PackageIndex(tmp_path, login="reader:hunter2")
    make_sdist(tmp_path, "spy", "1.0", SPY)
    make_wheel(tmp_path, "greeting", "1.0", "")
    place = msgspec.structs.replace(workshop.place, network="host")
    login = index.address.replace("//", "//reader:hunter2@")
    way = access({"UV_DEFAULT_INDEX": f"{login}/simple"}, place)
    environments = Environments(workshop.sandboxes, place, runner="test", access=way)
    try:
        prepared = await environments.prepare(EnvironmentRequest("3.11", b"spy\ngreeting"), say=workshop.say)
    finally:
        index.close()
    print_it = "import base64, spy; print(base64.b64decode(spy.SEEN).decode('latin-1'), spy.OPENED)"
    seen = await workshop.run(prepared, print_it)
    assert "127.0.0.1" in seen
    assert "hunter2" not in seen
    assert "prepare" not in seen.rpartition("[")[2]  # the memory of the preparer
    assert index.logins == {"reader:hunter2"}


async def test_the_user_of_a_build_deletes_its_files(workshop: Workshop, tmp_path: Path) -> None:
    """This works with any permissions; the store's owner could not delete them."""
    closed = "import os\ndef source():\n    os.mkdir('closed', 0)\n    return ''\nDATA = 1"
    make_sdist(tmp_path, "built", "1.0", closed)
    await workshop.fill(tmp_path, "links")
    await workshop.environments().prepare(request("built"), say=workshop.say)
    (tree,) = (await workshop.shell("ls /store/trees")).split()
    assert "denied" in await workshop.shell(f"rm -rf /store/trees/{tree}/lib || true")

    await workshop.shell("touch -h -d @1 /store/envs/*")
    await workshop.environments(1).collect()
    assert await workshop.shell("ls /store/envs /store/trees") == "/store/envs:\n\n/store/trees:\n"
