"""``fastflow up`` in incomplete or odd environments: it works, or one sentence explains what to do. No tracebacks."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.installation import FASTFLOW, HELLO, clean

ROOT = Path(__file__).parents[2]
DRIVER = """\
import sys
from pathlib import Path
from tests.support.installation import Installation

with Installation(Path(sys.argv[1])) as made:
    made.start(*sys.argv[2:])
    done = made.command("run", "hello", "--follow")
    sys.stdout.write(done.stdout)
    sys.stderr.write(done.stderr)
    assert made.stop() == 0
    assert "Traceback" not in "".join(made.printed), made.printed
"""
LONG_AGO = """\
from datetime import UTC, datetime
import fastflow_contracts.clock
fastflow_contracts.clock.now = lambda: datetime(1970, 1, 1, 0, 5, tzinfo=UTC)
from fastflow.cli import main
main()
"""
"""The command on a machine whose clock was never set."""
TIMEOUT_S = 60.0


def namespaces(*kinds: str) -> list[str]:
    """Return a command that gives the next one its own namespaces: root's, or a user's where the kernel allows it."""
    command = ["unshare", *(f"--{kind}" for kind in kinds)]
    if os.geteuid() != 0:
        command += ["--user", "--map-root-user"]
    if subprocess.run([*command, "true"], capture_output=True, check=False).returncode:
        pytest.skip("only root may make namespaces on this machine")
    return command


def shell(setup: str) -> list[str]:
    """Return a command that does *setup*, then becomes the next one."""
    return ["sh", "-ec", f'{setup}; exec "$@"', "sh"]


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    hello = tmp_path / "pipelines" / "hello"
    hello.mkdir(parents=True)
    (hello / "main.py").write_text(HELLO)
    yield tmp_path
    for path in tmp_path.iterdir():
        if path.is_dir():
            path.chmod(0o700)


def up(folder: Path, *options: str, around: list[str] | None = None) -> subprocess.CompletedProcess[str]:
    """Start it in *folder* and wait until it ends by itself."""
    command = [*(around or []), *FASTFLOW, "up", "pipelines", "--sandbox", "process", "--port", "0", *options]
    return subprocess.run(
        command, cwd=folder, env=clean({}), capture_output=True, text=True, timeout=TIMEOUT_S, check=False
    )


def assert_sentence(done: subprocess.CompletedProcess[str], *words: str) -> None:
    """Check that it ended with one line that says why and what to do."""
    assert done.returncode not in (0, 130), done.stdout
    assert "Traceback" not in done.stderr + done.stdout
    assert done.stderr.startswith("fastflow: "), done.stderr
    assert done.stderr.count("\n") == 1, done.stderr
    for word in words:
        assert word in done.stderr


def assert_works(folder: Path, *options: str, around: list[str]) -> None:
    """Check that it starts, runs a script, and stops."""
    done = subprocess.run(
        [*around, sys.executable, "-c", DRIVER, str(folder), *options],
        cwd=ROOT,
        env=clean({}),
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "Hello, world!\n"), done.stderr


def test_a_missing_folder_is_explained(folder: Path) -> None:
    """The named folder, or the default one."""
    shutil.rmtree(folder / "pipelines")
    assert_sentence(up(folder), "there is no folder pipelines")


def test_a_data_folder_that_is_a_file_is_explained(folder: Path) -> None:
    (folder / ".fastflow").touch()
    assert_sentence(up(folder), ".fastflow", "--data-dir")


def test_a_data_folder_that_cannot_be_written_is_explained(folder: Path) -> None:
    """Of another user, or on a disk that is mounted read-only."""
    (folder / "kept").mkdir()
    if os.geteuid() == 0:
        around = [*namespaces("mount"), *shell(f"mount -t tmpfs -o ro none {folder}/kept")]
        assert_sentence(up(folder, "--data-dir", "kept/data", around=around), "Read-only", "--data-dir")
    else:
        (folder / "kept").chmod(0o500)
        assert_sentence(up(folder, "--data-dir", "kept/data"), "Permission denied", "--data-dir")


@pytest.mark.parametrize("size", ["4k", "64k", "1m"])
def test_on_a_full_disk_it_starts_nothing(folder: Path, size: str) -> None:
    """However little space is left: nothing starts that could not continue."""
    (folder / ".fastflow").mkdir()
    around = [*namespaces("mount"), *shell(f"mount -t tmpfs -o size={size} none {folder}/.fastflow")]
    assert_sentence(up(folder, around=around), "--data-dir")


def test_on_a_disk_that_takes_few_more_files_it_starts_nothing(folder: Path) -> None:
    """A file system may have room for bytes and none for names."""
    (folder / ".fastflow").mkdir()
    around = [*namespaces("mount"), *shell(f"mount -t tmpfs -o size=400m,nr_inodes=60 none {folder}/.fastflow")]
    assert_sentence(up(folder, around=around), ".fastflow has room for", "more files", "--data-dir")


def test_it_works_without_any_network(folder: Path) -> None:
    """Not even the loopback interface is up."""
    assert_sentence(up(folder, around=namespaces("net")), "127.0.0.1", "ip link set lo up")


def test_it_works_with_nothing_but_loopback(folder: Path) -> None:
    """No name is resolved, nothing is downloaded, and a script without packages runs."""
    assert_works(folder, around=[*namespaces("net"), *shell("ip link set lo up")])


def test_it_works_without_ipv6(folder: Path) -> None:
    """The default address is IPv4; another one is refused, because no client could connect."""
    disable = "ip link set lo up; echo 1 > /proc/sys/net/ipv6/conf/all/disable_ipv6"
    around = [*namespaces("net"), *shell(disable)]
    assert_works(folder, around=around)
    assert_sentence(up(folder, "--host", "::", around=around), "no IPv6", "--host")


def test_it_works_without_proc(folder: Path) -> None:
    """Processes and memory cannot be inspected; scripts run anyway."""
    assert_works(folder, around=[*namespaces("mount"), *shell("umount -l /proc")])


def test_it_works_without_a_home_variable(folder: Path) -> None:
    """As some service managers start programs."""
    assert_works(folder, around=["env", "-u", "HOME", "-u", "XDG_RUNTIME_DIR"])


def test_it_works_with_an_empty_environment(folder: Path) -> None:
    """As cron does, and less."""
    assert_works(folder, around=["env", "-i"])


def test_a_user_that_has_no_name(folder: Path) -> None:
    """No entry in /etc/passwd, and no variables: as in many a container."""
    assert_works(folder, around=[*namespaces("mount"), *shell("mount --bind /dev/null /etc/passwd"), "env", "-i"])


def test_a_pod_beside_services_of_our_name(folder: Path) -> None:
    """Kubernetes sets variables for each of them, which look like our settings."""
    service = {
        "FASTFLOW_GATEWAY_SERVICE_HOST=10.0.0.11",
        "FASTFLOW_GATEWAY_SERVICE_PORT=8000",
        "FASTFLOW_GATEWAY_SERVICE_PORT_HTTP_API=8000",
        "FASTFLOW_GATEWAY_PORT=tcp://10.0.0.11:8000",
        "FASTFLOW_GATEWAY_PORT_8000_TCP=tcp://10.0.0.11:8000",
        "FASTFLOW_GATEWAY_PORT_8000_TCP_PROTO=tcp",
        "FASTFLOW_GATEWAY_PORT_8000_TCP_PORT=8000",
        "FASTFLOW_GATEWAY_PORT_8000_TCP_ADDR=10.0.0.11",
        "FASTFLOW_SERVICE_HOST=10.0.0.12",
        "FASTFLOW_PORT=tcp://10.0.0.12:80",
        "FASTFLOW_NATS_PORT=udp://10.0.0.13:53",
    }
    assert_works(folder, around=["env", *service])


def test_it_works_with_a_strict_umask(folder: Path) -> None:
    assert_works(folder, around=shell("umask 077"))


def test_it_works_with_an_ascii_locale(folder: Path) -> None:
    assert_works(folder, around=["env", "LC_ALL=C", "PYTHONUTF8=0", "PYTHONCOERCECLOCALE=0"])


def test_it_works_without_a_temporary_folder(folder: Path) -> None:
    assert_works(folder, around=["env", "TMPDIR=/nonexistent"])


def test_few_open_files_are_enough_or_explained(folder: Path) -> None:
    """Enough for a run, or a sentence at the start; a soft limit is raised."""
    assert_works(folder, around=shell("ulimit -S -n 40; ulimit -H -n 1024"))
    assert_works(folder, around=shell("ulimit -n 128"))
    assert_sentence(up(folder, around=shell("ulimit -n 48")), "48 files", "ulimit -n")


def test_a_limit_on_file_sizes_is_explained(folder: Path) -> None:
    """The kernel would kill the bus in the middle of a write."""
    assert_sentence(up(folder, around=shell("ulimit -f 100")), "ulimit -f")


def test_a_path_may_have_odd_letters(folder: Path) -> None:
    """Accents, spaces, quotes and backslashes work; bytes that are not UTF-8 are refused."""
    for name in ("Télé x", "müller 日本", 'it\'s "quoted" \\'):
        odd = folder / name
        shutil.copytree(folder / "pipelines", odd / "pipelines")
        assert_works(odd, around=["env"])
    odd = folder / os.fsdecode(b"\xff")
    shutil.copytree(folder / "pipelines", odd / "pipelines")
    assert_sentence(up(odd), "not UTF-8")


@pytest.mark.parametrize("name", ["token", "encryption.key"])
def test_damaged_files_of_the_data_folder_are_explained(folder: Path, name: str) -> None:
    """Not text, or a folder of that name: the error names the file to move away."""
    kept = folder / ".fastflow" / name
    kept.parent.mkdir()
    kept.write_bytes(b"\xff\xfe")
    assert_sentence(up(folder), name, "move it away")
    kept.unlink()
    kept.mkdir()
    assert_sentence(up(folder), name, "move it away")


def test_a_damaged_bus_address_is_replaced(folder: Path) -> None:
    """It only stores the bus's old port: the bus takes another one."""
    (folder / ".fastflow").mkdir()
    (folder / ".fastflow" / "bus.url").write_bytes(b"\xff")
    assert_works(folder, around=["env"])


@pytest.mark.parametrize("name", ["sandboxes", "bus", "bus.users"])
def test_a_file_in_the_place_of_a_folder_is_explained(folder: Path, name: str) -> None:
    (folder / ".fastflow").mkdir()
    (folder / ".fastflow" / name).touch()
    done = up(folder)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert name in done.stderr


@pytest.mark.parametrize(
    ("variable", "value"),
    [("FASTFLOW_PORT", "²"), ("FASTFLOW_PORT", "9" * 5000), ("DEFAULT_PYTHON_VERSION", "newest")],
)
def test_impossible_values_are_explained(folder: Path, variable: str, value: str) -> None:
    done = subprocess.run(
        [*FASTFLOW, "up", "pipelines", "--sandbox", "process"],
        cwd=folder,
        env=clean({variable: value}),
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    assert done.returncode == 2
    assert variable in done.stderr
    assert "Traceback" not in done.stderr


def test_a_bus_that_does_not_start_is_explained(folder: Path) -> None:
    """There is memory for Python but not for the server; the sentence has the server's own message."""
    done = up(folder, around=shell("ulimit -v 700000"))
    assert_sentence(done, "NATS server did not start", "memory", "bus.log")


def test_a_bus_that_does_not_answer_is_explained(folder: Path) -> None:
    """So is an address that is malformed."""
    assert_sentence(up(folder, "--nats-url", "nats://127.0.0.1:1"), "127.0.0.1:1")
    assert_sentence(up(folder, "--nats-url", "nats://[::1"), "nats://user:password@host:4222")


def test_a_clock_that_was_never_set_is_explained(folder: Path) -> None:
    """Slots, certificates and every age depend on it."""
    done = subprocess.run(
        [sys.executable, "-c", LONG_AGO, "up", "pipelines", "--sandbox", "process", "--port", "0"],
        cwd=folder,
        env=clean({}),
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    assert_sentence(done, "1970-01-01", "set it")


def test_a_working_folder_that_is_gone_is_explained(folder: Path) -> None:
    gone = folder / "gone"
    gone.mkdir()
    assert_sentence(up(folder, around=shell(f"cd {gone}; rmdir {gone}")), "folder no longer exists")


def test_all_wrong_settings_are_explained_at_once(folder: Path) -> None:
    """Each on its own line."""
    done = up(folder, around=["env", "RUNNER_SLOTS=many", "FASTFLOW_NO_SUCH=1"])
    assert done.returncode == 2
    assert "RUNNER_SLOTS" in done.stderr
    assert "FASTFLOW_NO_SUCH" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("taken", ["dashboard", "bus"])
def test_a_port_of_another_program_is_explained_or_avoided(folder: Path, taken: str) -> None:
    """A named one is refused; that of the last bus is replaced."""
    if taken == "dashboard":
        with socket.create_server(("127.0.0.1", 0)) as other:
            assert_sentence(up(folder, "--port", str(other.getsockname()[1])), "Address already in use", "--port")
        return
    assert_works(folder, around=[])
    port = int((folder / ".fastflow" / "bus.url").read_text().rpartition(":")[2])
    with socket.create_server(("127.0.0.1", port)):
        assert_works(folder, around=[])


@pytest.mark.parametrize("address", ["unix:///nonexistent/docker.sock", "tcp://127.0.0.1:1", "nonsense"])
def test_without_docker_it_uses_processes_or_explains(folder: Path, address: str) -> None:
    """``auto`` runs plain processes and says why; with a setting that requires Docker, the error says what to do."""
    around = ["env", f"DOCKER_HOST={address}"]
    assert_works(folder, "--sandbox", "auto", around=around)
    done = up(folder, "--sandbox", "docker", around=around)
    assert_sentence(done, "DOCKER_HOST", "--sandbox process")


@pytest.mark.docker
def test_if_docker_cannot_build_the_worker_image_it_uses_processes(folder: Path) -> None:
    """No reachable registry, or no such base image: it gives the reason."""
    around = ["env", "WORKER_BASE_IMAGE=127.0.0.1:1/nothing:here"]
    assert_works(folder, "--sandbox", "auto", around=around)
    assert_sentence(up(folder, "--sandbox", "docker", around=around), "worker image", "WORKER_BASE_IMAGE")
