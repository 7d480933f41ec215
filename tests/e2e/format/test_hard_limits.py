"""The rules of pipeline.json that only a container enforces, end to end: the pipeline ``capped``."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator

import pytest

from tests.e2e.format.folders import FOLDERS
from tests.support.installation import Installation
from tests.support.rules import Rules

pytestmark = pytest.mark.docker

MIB = 2**20


@pytest.fixture(scope="module")
def there(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rules]:
    """One installation with a container for each run. It retries everything once."""
    folder = tmp_path_factory.mktemp("rules")
    shutil.copytree(FOLDERS / "capped", folder / "pipelines" / "capped")
    with Installation(folder) as made:
        made.start("--sandbox", "docker", RETRY_ATTEMPTS="1")
        yield Rules(made)
        assert made.stop() == 0


@pytest.mark.promise("isolated")
@pytest.mark.parametrize(
    ("run_config_id", "cpu_us", "memory_bytes"), [(None, 50_000, 48 * MIB), ("more", 150_000, 256 * MIB)]
)
def test_hard_limits_are_those_of_the_container(
    there: Rules, run_config_id: str | None, cpu_us: int, memory_bytes: int
) -> None:
    """From the pipeline, or the entry that overrides it: what the kernel enforces, as the script itself sees it."""
    run = there.done("capped", run_config_id=run_config_id)
    assert run["status"] == "SUCCESS"
    assert there.text(run).split() == [str(cpu_us), str(memory_bytes)]
    assert (run["limits"]["cpu_cores"], run["limits"]["memory_bytes"]) == (cpu_us / 100_000, memory_bytes)


def test_more_cores_than_the_host_has_is_not_a_limit(there: Rules) -> None:
    """The same pipeline runs on small hosts and on large ones."""
    run = there.done("capped", run_config_id="all")
    assert run["status"] == "SUCCESS", run
    assert int(there.text(run).split()[0]) == (os.cpu_count() or 0) * 100_000


@pytest.mark.promise("explains itself")
def test_exceeding_the_memory_limit_ends_the_script_and_is_reported(there: Rules) -> None:
    """137 and oom, with the installation's number of retries; the entry with more memory succeeds."""
    run = there.done("capped", env_vars={"MIB": "150"})
    assert (run["status"], run["exit_code"], run["error_type"]) == ("FAILED", 137, "oom")
    assert [attempt["error_type"] for attempt in run["attempts"]] == ["oom", "oom"]
    assert there.done("capped", run_config_id="more", env_vars={"MIB": "150"})["status"] == "SUCCESS"
