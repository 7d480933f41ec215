"""What a runner says of a machine on which bubblewrap cannot make sandboxes: each on a machine made so."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from fastflow_runner.backend.backend import NoSandbox
from fastflow_runner.backend.bubble import bubble_backend
from fastflow_runner.settings import RunnerSettings
from tests.support import bubble_trial
from tests.support.bubble import required

ROOT = Path(__file__).parents[4]
pytestmark = [pytest.mark.bubble, pytest.mark.slow]


def said(data_dir: Path, *around: str, network: str = "none", **environ: str) -> str:
    """Return what a runner with a data folder says, whose command *around* precedes."""
    done = subprocess.run(
        [*around, sys.executable, str(bubble_trial.__file__), str(data_dir), network],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), **environ},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def as_root(*command: str) -> tuple[str, ...]:
    """Return a command in a mount namespace of its own, where this user is root."""
    return ("unshare", "--mount", *(() if os.geteuid() == 0 else ("--map-root-user",)), "sh", "-ec", *command, "sh")


def programs(folder: Path, *names: str) -> str:
    """Return a PATH with these programs only."""
    folder.mkdir()
    for name in names:
        found = shutil.which(name)
        assert found
        (folder / name).symlink_to(found)
    return str(folder)


def test_where_nothing_is_in_the_way_it_works(tmp_path: Path) -> None:
    """The sandbox of the trial is gone afterwards."""
    assert said(tmp_path) == "works"


def test_without_the_system_s_bubblewrap_it_takes_its_own(tmp_path: Path) -> None:
    """The one that is installed with the runner."""
    assert said(tmp_path / "data", PATH=programs(tmp_path / "bin")) == "works"


def test_without_user_namespaces(tmp_path: Path) -> None:
    """Turned off by a sysctl, as on hardened machines."""
    around = ("unshare", "--user", "--map-root-user", "sh", "-ec")
    off = 'echo 0 >/proc/sys/user/max_user_namespaces; exec "$@"'
    answer = said(tmp_path, *around, off, "sh")
    assert answer.startswith("user namespaces are turned off: as root, run sysctl -w user.max_user_namespaces=10000")


@pytest.mark.parametrize("most", [1, 2, 5])
def test_with_user_namespaces_for_one_sandbox(tmp_path: Path, most: int) -> None:
    """The first would start, and the second not."""
    around = ("unshare", "--user", "--map-root-user", "sh", "-ec")
    few = f'echo {most} >/proc/sys/user/max_user_namespaces; exec "$@"'
    answer = said(tmp_path, *around, few, "sh")
    assert answer.startswith(f"this machine has too few user namespaces ({most}; each sandbox takes 3): as root, run")


def test_in_a_container_without_a_proc_of_its_own(tmp_path: Path) -> None:
    """Parts of /proc are covered, as container runtimes do it; the kernel then gives no new one."""
    # Another whole /proc anywhere, such as a chroot's, would be enough for the kernel.
    alone = 'awk \'$3 == "proc" && $2 != "/proc" {print $2}\' /proc/mounts | xargs --no-run-if-empty umount --lazy; '
    cover = f'{alone}for at in scsi acpi irq; do mount -t tmpfs tmpfs /proc/$at 2>/dev/null && break; done; exec "$@"'
    answer = said(tmp_path, *as_root(cover))
    assert answer.startswith("this process is in a container without a /proc of its own")
    assert "systempaths=unconfined" in answer


def test_without_programs_for_the_network(tmp_path: Path) -> None:
    """Runs would have none: the operator chooses which."""
    path = programs(tmp_path / "bin", "bwrap")
    answer = said(tmp_path / "data", network="fastflow", PATH=path)
    assert answer.startswith("neither slirp4netns nor pasta is here")
    assert "sandboxes: install slirp4netns or passt, or set FASTFLOW_NETWORK=none, which" in answer
    assert "FASTFLOW_NETWORK=host" in answer


@pytest.fixture
def public() -> Iterator[Path]:
    """A folder that the user of sandboxes reaches, too."""
    with tempfile.TemporaryDirectory(prefix="ff-trial-") as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


def instead(folder: Path, **programs: str) -> str:
    """Return a PATH on which these programs are scripts of the shell, or whatever starts otherwise."""
    folder.mkdir(exist_ok=True)
    for name, script in programs.items():
        (folder / name).write_text(script)
        (folder / name).chmod(0o755)
    return f"{folder}:{os.environ['PATH']}"


BROKEN = "#!/bin/sh\necho cannot open shared object >&2\nexit 127\n"
KILLED = "#!/bin/sh\nkill -9 $$\n"
NO_PROGRAM = "\x7fELF of another machine"


@pytest.mark.parametrize("script", [BROKEN, KILLED, NO_PROGRAM])
def test_where_one_helper_is_broken_the_other_is_taken(tmp_path: Path, public: Path, script: str) -> None:
    """Whatever is wrong with it, and whichever it is."""
    required("slirp4netns", "pasta", "nft")
    assert said(tmp_path, network="fastflow", PATH=instead(public, slirp4netns=script)) == "works"
    assert said(tmp_path, network="fastflow", PATH=instead(public / "bin", pasta=script)) == "works"


@pytest.mark.parametrize("name", ["slirp4netns", "pasta"])
def test_a_helper_may_be_anywhere(tmp_path: Path, public: Path, name: str) -> None:
    """Below /tmp, too, which is one more folder."""
    required(name, "nft")
    path = instead(public, slirp4netns=BROKEN, pasta=BROKEN)
    (public / name).unlink()
    shutil.copy(str(shutil.which(name)), public / name)
    assert said(tmp_path, network="fastflow", PATH=path) == "works"


def test_where_both_helpers_are_broken(tmp_path: Path, public: Path) -> None:
    """The one that was tried last says what is wrong."""
    required("nft")
    path = instead(public, slirp4netns=BROKEN, pasta=KILLED)
    answer = said(tmp_path, network="fastflow", PATH=path)
    assert answer.startswith(f"sandboxes get no network here ({public}/pasta ended: it said nothing, or was killed)")
    assert "or set FASTFLOW_NETWORK=none" in answer


@pytest.mark.parametrize(
    ("script", "problem", "advice"),
    [
        (
            "#!/bin/sh\necho 'Error: Could not process rule: Operation not supported' >&2\nexit 1\n",
            "the kernel does not take the rules of its network (Error: Could not process rule: Operation not",
            "modprobe nf_tables",
        ),
        (KILLED, "nft was killed by signal 9)", "install nftables again"),
    ],
)
def test_where_nft_fails(tmp_path: Path, public: Path, script: str, problem: str, advice: str) -> None:
    """It is not bubblewrap's fault, whatever the words are."""
    required("slirp4netns")
    answer = said(tmp_path, network="fastflow", PATH=instead(public, nft=script))
    assert answer.startswith(f"sandboxes get no network here ({problem}")
    assert advice in answer
    assert "FASTFLOW_NETWORK=none" in answer


def test_in_a_full_folder(tmp_path: Path) -> None:
    """There is no room for the sandboxes' pipes and records."""
    data_dir = tmp_path / "data"
    data_dir.mkdir()
    fill = f'mount -t tmpfs -o size=64k tmpfs {data_dir}; head -c 1m /dev/zero >{data_dir}/x || true; exec "$@"'
    answer = said(data_dir, *as_root(fill))
    assert "No space left on device" in answer
    assert "FASTFLOW_DATA_DIR" in answer


def test_in_a_folder_on_another_file_system(tmp_path: Path) -> None:
    """That makes no difference."""
    data_dir = tmp_path / "data"
    data_dir.mkdir()
    assert said(data_dir, *as_root(f'mount -t tmpfs tmpfs {data_dir}; exec "$@"')) == "works"


def test_in_a_folder_behind_a_link(tmp_path: Path) -> None:
    """It may lead to a folder that only root passes, as /root or a mounted disk."""
    (tmp_path / "private" / "data").mkdir(parents=True)
    (tmp_path / "private").chmod(0o700)
    (tmp_path / "data").symlink_to("private/data")
    assert said(tmp_path / "data") == "works"


def test_in_a_folder_whose_parts_are_links(tmp_path: Path) -> None:
    """Somebody has moved the store, or the sandboxes, to another disk."""
    for part in ("store", "sandboxes"):
        (tmp_path / "private" / part).mkdir(parents=True)
        (tmp_path / "data" / "bubble").mkdir(parents=True, exist_ok=True)
        (tmp_path / "data" / "bubble" / part).symlink_to(tmp_path / "private" / part)
    (tmp_path / "private").chmod(0o700)
    assert said(tmp_path / "data") == "works"


async def test_one_folder_is_for_one_runner_at_a_time(tmp_path: Path) -> None:
    """Two would remove each other's sandboxes. One that was killed is in nobody's way."""
    settings = RunnerSettings(data_dir=str(tmp_path), network="none")
    first = await bubble_backend(settings, "one", os.environ, "test")
    try:
        with pytest.raises(
            NoSandbox, match=r"another runner has its sandboxes in .*; stop it, or set another FASTFLOW_"
        ):
            await bubble_backend(settings, "two", os.environ, "test")
    finally:
        await first.environments.close()
        await first.sandboxes.close()
    assert said(tmp_path) == "works"


def test_if_bubblewrap_is_killed(tmp_path: Path) -> None:
    """By the kernel for lack of memory, or by somebody."""
    real = shutil.which("bwrap")
    (tmp_path / "bin").mkdir()
    fake = tmp_path / "bin" / "bwrap"
    fake.write_text(f'#!/bin/sh\ncase "$1" in --help) exec {real} --help;; esac\nkill -9 $$\n')
    fake.chmod(0o755)
    answer = said(tmp_path / "data", PATH=f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    assert answer.startswith("something killed bubblewrap while it made a sandbox")


def test_an_old_bubblewrap_is_not_used(tmp_path: Path) -> None:
    """The one that came with the runner is, where there is one."""
    (tmp_path / "bin").mkdir()
    old = tmp_path / "bin" / "bwrap"
    old.write_text("#!/bin/sh\necho usage: bwrap --unshare-all --as-pid-1\n")
    old.chmod(0o755)
    assert said(tmp_path / "data", PATH=f"{tmp_path / 'bin'}:{os.environ['PATH']}") == "works"
