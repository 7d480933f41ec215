"""``fastflow up`` with bubblewrap for each run: packages, notebooks, and what happens to sandboxes."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from fastflow_runner.sandbox.naming import attempt_of
from tests.support.installation import SLEEPS, Installation

pytestmark = pytest.mark.bubble

EXAMPLES = Path(__file__).parents[2] / "examples" / "pipelines"
COUNTS = """\
import time
for number in range(1, 41):
    print("line", number, flush=True)
    time.sleep(0.1)
"""
LOOKS = """\
import os
print("uid", os.getuid(), "cwd", os.getcwd(), "processes", sum(name.isdigit() for name in os.listdir("/proc")))
print("reads", [path for path in {paths!r} if os.path.exists(path)])
"""


@pytest.fixture
def installation(tmp_path: Path) -> Iterator[Installation]:
    with Installation(tmp_path) as made:
        yield made


def start(installation: Installation) -> None:
    installation.start("--sandbox", "bubble")


def sandboxes(installation: Installation) -> list[str]:
    """Return the names of the sandboxes that exist."""
    return os.listdir(installation.data_dir / "bubble" / "sandboxes")


def sandboxes_of_runs(installation: Installation) -> list[str]:
    """Return the names of the sandboxes that exist, without those that wait for a run."""
    return [name for name in sandboxes(installation) if attempt_of(name) is not None]


def test_scripts_with_packages_and_notebooks_run(installation: Installation) -> None:
    """A run finds nothing of the machine, and the preparer is a sandbox, too."""
    private = [str(installation.data_dir), "/etc/shadow", "/run/docker.sock", "/var/lib", "/home", "/root/.ssh"]
    installation.add("looks", LOOKS.format(paths=private))
    for name in ("sales_report", "notebook_report"):
        shutil.copytree(EXAMPLES / name, installation.pipelines / name)
    start(installation)
    assert "bubblewrap for each run, as requested" in "".join(installation.printed)
    shown = installation.command("run", "looks", "--follow").stdout
    assert "uid 65532 cwd /work/" in shown
    assert "processes 2\n" in shown
    assert "reads []\n" in shown
    assert "│ South" in installation.command("run", "sales_report", "--follow").stdout
    assert "days in" in installation.command("run", "notebook_report", "--follow").stdout
    assert "bubble" in installation.command("runners").stdout
    assert installation.stop() == 0
    assert sandboxes(installation) == []
    installation.await_silence()


def test_ctrl_c_leaves_no_sandbox(installation: Installation) -> None:
    """Running scripts are stopped and recorded before the word "Stopped"."""
    installation.add("sleeps", SLEEPS)
    start(installation)
    run_id = json.loads(installation.command("run", "sleeps", "--json").stdout)["id"]
    installation.await_log(run_id, "asleep")
    assert len(sandboxes_of_runs(installation)) == 1
    assert installation.stop() == 0
    assert sandboxes(installation) == []
    installation.await_silence()


@pytest.mark.promise("nothing lost")
def test_a_run_outlives_the_kill_of_everything_else(installation: Installation) -> None:
    """Killed and restarted, the same sandbox continues: one attempt, success, and every line once."""
    installation.add("counts", COUNTS)
    start(installation)
    run_id = json.loads(installation.command("run", "counts", "--json").stdout)["id"]
    installation.await_log(run_id, "line 5")
    installation.kill()
    assert len(sandboxes_of_runs(installation)) == 1
    start(installation)
    followed = installation.command("logs", run_id, "--follow")
    assert followed.stdout.splitlines() == [f"line {number}" for number in range(1, 41)]
    (run,) = json.loads(installation.command("ps", "-a", "--json").stdout)
    assert (run["status"], len(run["attempts"])) == ("SUCCESS", 1)
    assert installation.stop() == 0
    assert sandboxes(installation) == []


def test_auto_takes_it_where_no_docker_answers(installation: Installation) -> None:
    """And says why it is not Docker."""
    installation.add("hello", "print('hello')\n")
    installation.start("--sandbox", "auto", DOCKER_HOST="unix:///nonexistent/docker.sock")
    printed = "".join(installation.printed)
    assert "bubblewrap for each run, because" in printed
    assert "hello" in installation.command("run", "hello", "--follow").stdout
    assert installation.stop() == 0


def test_auto_goes_on_without_it_and_says_why(installation: Installation) -> None:
    """Where the network of runs cannot be made, runs are plain processes; asked for by name, it refuses to start."""
    (bare := installation.folder / "bin").mkdir()
    around = {"PATH": str(bare), "DOCKER_HOST": "unix:///nonexistent/docker.sock"}
    installation.add("hello", "print('hello')\n")
    installation.start("--sandbox", "auto", **around)
    printed = "".join(installation.printed)
    assert "plain processes, because" in printed
    assert "install slirp4netns or passt" in printed
    assert installation.stop() == 0
    installation.launch("--sandbox", "bubble", **around)
    assert installation.wait() == 1
    assert "install slirp4netns or passt" in "".join(installation.printed)
    assert "--sandbox process" in "".join(installation.printed)


def test_a_run_that_its_runners_share_ended_says_so(installation: Installation) -> None:
    """A higher limit of its own is not the one to raise; files in memory are named."""
    share_bytes = 240 * 1024**2
    share = share_bytes / (os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    hoard = "with open('/dev/shm/hoard', 'wb') as file:\n    for _ in range(200): file.write(bytes(1 << 20))\n"
    grow = "import time\nkept = []\nwhile True: kept.append(b'1' * (1 << 20)); time.sleep(0.005)\n"
    installation.add("greedy", hoard + grow, mem_hard_limit="2g")
    installation.start("--sandbox", "bubble", FASTFLOW_MEMORY_SHARE_MAX=f"{share:.6f}", FASTFLOW_NETWORK="none")
    installation.command("run", "greedy", "--follow")
    (run,) = json.loads(installation.command("ps", "-a", "--json").stdout)
    (attempt,) = run["attempts"]
    assert attempt["exit_code"] == 137
    assert "more memory than its runner gives to one run" in attempt["error_message"]
    assert "MiB in files that the run wrote" in attempt["error_message"]
    assert attempt["error_message"].endswith("; raise FASTFLOW_MEMORY_SHARE_MAX of the runner or use less")
    assert installation.stop() == 0
