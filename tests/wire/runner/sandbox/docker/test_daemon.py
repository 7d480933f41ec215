"""Finding the Docker daemon: any address leads to a daemon or to one sentence that says what to do."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import re
import socket
import tempfile
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import pytest

from fastflow_runner.backend.choose import open_backend
from fastflow_runner.sandbox.docker import daemon as docker_daemon
from fastflow_runner.sandbox.docker import image
from fastflow_runner.sandbox.docker.daemon import NoDocker, find_daemon
from fastflow_runner.settings import RunnerSettings

NOBODY = 65534
SILENCE = (0, "", b"")
INFO = {"ID": "abc", "NCPU": 4, "ServerVersion": "27.1", "OSType": "linux", "Architecture": "x86_64"}


@asynccontextmanager
async def serving(answers: Mapping[str, tuple[int, str, bytes]], path: Path | None = None) -> AsyncIterator[str]:
    """An HTTP server, and its address. *answers*: status, media type and body by the end of the path."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            asked = head.split()[1].partition("?")[0]
            status, media, body = next(
                (answer for end, answer in answers.items() if asked.endswith(end)), (404, "text/plain", b"no")
            )
            if status == 0:
                await reader.read()  # until the client has gone
                return
            writer.write(
                f"HTTP/1.1 {status} X\r\nContent-Type: {media}\r\nContent-Length: {len(body)}\r\n"
                "Connection: close\r\n\r\n".encode()
                + body
            )
            await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass  # the client has gone
        finally:
            writer.close()

    if path is not None:
        async with await asyncio.start_unix_server(serve, path):
            yield f"unix://{path}"
    else:
        async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
            yield "tcp://{}:{}".format(*server.sockets[0].getsockname()[:2])


def answering(version: object, info: object) -> dict[str, tuple[int, str, bytes]]:
    return {
        "/version": (200, "application/json", json.dumps(version).encode()),
        "/info": (200, "application/json", json.dumps(info).encode()),
    }


async def refused(**environ: str) -> NoDocker:
    with pytest.raises(NoDocker) as no:
        await find_daemon(environ)
    assert "\n" not in str(no.value)
    assert no.value.hint
    return no.value


@pytest.fixture(autouse=True)
def no_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ignore the Docker contexts of the user who runs the tests."""
    monkeypatch.setenv("HOME", str(tmp_path))


async def test_a_daemon_that_answers_is_found() -> None:
    """With its own description, at the address in DOCKER_HOST."""
    async with serving(answering({"ApiVersion": "1.47"}, INFO)) as url:
        daemon = await find_daemon({"DOCKER_HOST": url})
    assert daemon.url == url
    assert daemon.name == f"Docker 27.1 at {url}"


async def test_a_context_of_the_docker_command_is_followed(tmp_path: Path) -> None:
    """The current one, or the one that DOCKER_CONTEXT names; DOCKER_HOST wins over both."""
    async with serving(answering({"ApiVersion": "1.47"}, INFO), tmp_path / "colima.sock") as url:
        meta = tmp_path / ".docker" / "contexts" / "meta" / hashlib.sha256(b"colima").hexdigest()
        meta.mkdir(parents=True)
        (meta / "meta.json").write_text(json.dumps({"Name": "colima", "Endpoints": {"docker": {"Host": url}}}))
        assert (await find_daemon({"DOCKER_CONTEXT": "colima"})).url == url
        (tmp_path / ".docker" / "config.json").write_text('{"currentContext": "colima"}')
        assert (await find_daemon({})).url == url
        assert "/nowhere" in str(await refused(DOCKER_HOST="unix:///nowhere"))


async def test_the_socket_of_a_rootless_daemon_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the user's runtime folder, if the system has no daemon."""
    monkeypatch.setattr(docker_daemon, "SYSTEM_SOCKETS", ())
    async with serving(answering({"ApiVersion": "1.47"}, INFO), tmp_path / "docker.sock") as url:
        assert (await find_daemon({"XDG_RUNTIME_DIR": str(tmp_path)})).url == url


async def test_without_a_socket_the_error_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """As `fastflow up` on a fresh machine."""
    monkeypatch.setattr(docker_daemon, "SYSTEM_SOCKETS", ())
    no = await refused()
    assert "no Docker on this machine" in str(no)
    assert "install Docker" in no.hint


async def test_another_server_is_not_a_docker_daemon() -> None:
    """A web server, another API, a server of another protocol."""
    for media, body in (("text/html", b"<html>"), ("application/json", b"[1]")):
        for status in (200, 404, 500):
            async with serving({"": (status, media, body)}) as url:
                assert str(await refused(DOCKER_HOST=url)) == f"the server at {url} is not Docker"

    async def greet(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"SSH-2.0-OpenSSH\r\n")
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(greet, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        assert "is not Docker" in str(await refused(DOCKER_HOST=f"tcp://127.0.0.1:{port}"))


@pytest.mark.parametrize(
    ("version", "info", "found"),
    [
        ({"ApiVersion": "1.38", "Version": "18.06"}, INFO, "Docker 18.06 at .* is too old"),
        ({"Version": "9"}, INFO, "is not Docker"),
        ({"ApiVersion": "new"}, INFO, "is not Docker"),
        ({"ApiVersion": "1.47"}, {}, "is not Docker"),
        ({"ApiVersion": "1.47"}, {**INFO, "OSType": "windows"}, "runs windows containers"),
        ({"ApiVersion": "1.47"}, {**INFO, "OSType": None}, "is not Docker"),
        ({"ApiVersion": "1.47"}, {**INFO, "NCPU": "many"}, "is not Docker"),
    ],
)
async def test_the_error_says_why_a_daemon_cannot_be_used(version: object, info: object, found: str) -> None:
    """Too old, an incomplete response, the wrong kind of containers."""
    async with serving(answering(version, info)) as url:
        with pytest.raises(NoDocker, match=found):
            await find_daemon({"DOCKER_HOST": url})


async def test_podman_is_recognised_and_refused() -> None:
    """It answers as Docker does, in everything but this."""
    version = {"ApiVersion": "1.41", "Version": "4.3.1", "Components": [{"Name": "Podman Engine", "Version": "4.3.1"}]}
    async with serving(answering(version, INFO)) as url:
        no = await refused(DOCKER_HOST=url)
    assert str(no) == f"the server at {url} is Podman, which does not keep all that a sandbox needs"
    assert no.hint == "install Docker, or set DOCKER_HOST to a Docker daemon"


async def test_a_daemon_that_refuses_is_quoted() -> None:
    """A proxy that requires a login, or a desktop program that does not start: its own message says more than ours."""
    body = json.dumps({"message": "Docker Desktop is unable to start"}).encode()
    async with serving({"": (500, "application/json", body)}) as url:
        assert "(500: Docker Desktop is unable to start)" in str(await refused(DOCKER_HOST=url))


async def test_a_daemon_that_hangs_times_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """After a bounded time."""
    monkeypatch.setattr(docker_daemon, "ANSWER_S", 0.2)
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        deaf.listen()
        async with asyncio.timeout(60):
            assert "did not answer" in str(await refused(DOCKER_HOST=f"tcp://127.0.0.1:{deaf.getsockname()[1]}"))


async def test_a_dead_address_gives_the_systems_error(tmp_path: Path) -> None:
    """No listener, an unknown name, a socket without a server, a plain file."""
    assert "Connection refused" in str(await refused(DOCKER_HOST="tcp://127.0.0.1:1"))
    dead = tmp_path / "dead.sock"
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(dead))
    assert "Connection refused" in str(await refused(DOCKER_HOST=f"unix://{dead}"))
    (tmp_path / "file").touch()
    assert "no Docker daemon answers" in str(await refused(DOCKER_HOST=f"unix://{tmp_path / 'file'}"))


@contextmanager
def ordinary_user() -> Iterator[None]:
    """Run as another user for a while, because root may use every socket."""
    if os.getuid() != 0:
        yield
        return
    os.setresuid(NOBODY, NOBODY, 0)
    try:
        yield
    finally:
        os.setresuid(0, 0, 0)


async def test_a_socket_without_permission_names_the_group() -> None:
    """The most frequent reason on a machine with Docker."""
    with tempfile.TemporaryDirectory() as folder, socket.socket(socket.AF_UNIX) as server:
        os.chmod(folder, 0o755)
        path = f"{folder}/docker.sock"
        server.bind(path)
        os.chmod(path, 0)
        with ordinary_user():
            no = await refused(DOCKER_HOST=f"unix://{path}")
    assert "may not use" in str(no)
    assert "usermod" in no.hint


@pytest.mark.parametrize(
    "address",
    [
        "lalala",
        "ssh://ada@host",
        "tcp://",
        "tcp://:",
        "tcp://:::",
        "tcp://127.0.0.1:99999",
        "tcp://127.0.0.1:abc",
        "unix://",
    ],
)
async def test_an_invalid_address_is_an_error_of_one_sentence(address: str) -> None:
    """For any value of DOCKER_HOST."""
    assert "is not valid" in str(await refused(DOCKER_HOST=address))


async def test_unreadable_settings_are_errors_of_one_sentence(tmp_path: Path) -> None:
    """A missing context, missing certificates. A broken configuration file is ignored."""
    assert "'gone'" in str(await refused(DOCKER_CONTEXT="gone"))
    assert "context" in str(await refused(DOCKER_CONTEXT=os.fsdecode(b"\xff")))
    tls = {"DOCKER_HOST": "tcp://127.0.0.1:1", "DOCKER_TLS_VERIFY": "1", "DOCKER_CERT_PATH": str(tmp_path)}
    assert "certificates" in str(await refused(**tls))
    (tmp_path / ".docker").mkdir()
    (tmp_path / ".docker" / "config.json").write_text("{")
    async with serving(answering({"ApiVersion": "1.47"}, INFO)) as url:
        await find_daemon({"DOCKER_HOST": url})


async def test_a_password_in_the_address_is_not_repeated() -> None:
    """The sentence is printed and logged."""
    assert "hunter2" not in str(await refused(DOCKER_HOST="tcp://ada:hunter2@127.0.0.1:1"))


BUILT = (200, "application/json", b'{"Id": "sha256:1"}')
NETWORK = (200, "application/json", b'[{"Name": "fastflow", "Id": "1", "Created": "x"}]')
NONE = (200, "application/json", b"[]")
REFUSED = (403, "application/json", b'{"message": "forbidden by policy"}')


@pytest.mark.parametrize(
    ("answers", "found"),
    [
        ({"/json": REFUSED}, "cannot build the worker image .*forbidden by policy"),
        ({"containers/json": REFUSED, "/json": BUILT}, "cannot open a sandbox .*forbidden by policy"),
        (
            {"containers/json": NONE, "/json": BUILT, "networks": NETWORK, "create": REFUSED},
            "cannot open a sandbox .*forbidden by policy",
        ),
    ],
)
async def test_a_daemon_that_runs_no_container_is_not_used(
    tmp_path: Path, answers: dict[str, tuple[int, str, bytes]], found: str
) -> None:
    """It answers, but images cannot be built, or containers listed or created: processes are used instead, with the
    reason.
    """
    settings = RunnerSettings(sandbox="auto", data_dir=str(tmp_path))
    async with serving(answering({"ApiVersion": "1.47"}, INFO) | answers) as url:
        opening = open_backend(
            settings, runner="one", installation="test", environ={"DOCKER_HOST": url}, say=lambda line: None
        )
        async with opening as backend:
            assert backend.kind in {"bubble", "process"}
            assert re.search(found, backend.why)


async def test_a_daemon_that_stalls_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It answers the first request, and then nothing more."""
    monkeypatch.setattr(image, "LOOK_S_MAX", 0.1)
    settings = RunnerSettings(sandbox="auto", data_dir=str(tmp_path))
    answers = answering({"ApiVersion": "1.47"}, INFO) | {"/json": SILENCE}
    async with serving(answers) as url:
        opening = open_backend(
            settings, runner="one", installation="test", environ={"DOCKER_HOST": url}, say=lambda line: None
        )
        async with opening as backend:
            assert backend.kind in {"bubble", "process"}
            assert "did not answer" in backend.why
