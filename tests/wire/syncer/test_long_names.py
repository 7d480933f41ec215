"""A folder in a git repository whose name is longer than any file system takes."""

from __future__ import annotations

from pathlib import Path

from fastflow_contracts.bus.client import Bus
from fastflow_syncer.app import source_of
from fastflow_syncer.publish import Publisher
from fastflow_syncer.settings import SyncerSettings
from fastflow_syncer.sync import Syncer
from tests.git_repository import Repository
from tests.support.syncer import actions, status_of


async def test_a_git_folder_with_a_name_of_4000_bytes_is_refused_and_the_others_are_synced(
    bus: Bus, tmp_path: Path
) -> None:
    """It once closed the syncer's connection at every start: a subject with that name is too long for a server."""
    repository = Repository(tmp_path / "origin")
    repository.commit("good", {"etl/main.py": "print(1)"})
    blob = repository.git("rev-parse", "HEAD:etl/main.py")
    names = ["x" * 4000, "ä" * 2000, "a" + "." * 600]
    for name in names:
        repository.git("update-index", "--add", "--cacheinfo", f"100644,{blob},{name}/main.py")
    repository.git("commit", "-q", "-m", "long names")
    with source_of(SyncerSettings(git_repo_url=repository.url)) as source:
        report = await Syncer(source, Publisher(bus)).sync()
    assert report.ok, report.error
    assert actions(report) == {"etl": "added"} | {name[:200]: "refused" for name in names}
    assert all("shorter name" in change.detail for change in report.changes if change.action == "refused")
    assert await status_of(bus)
