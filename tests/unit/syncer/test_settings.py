"""The settings of the syncer."""

from __future__ import annotations

import pytest

from fastflow_contracts.service.settings import BadSettings, load
from fastflow_syncer.settings import SyncerSettings


def test_settings_keep_their_names() -> None:
    """The variables that people know, secrets also from files; a subfolder must not leave the root."""
    settings = load(
        SyncerSettings,
        {
            "GIT_REPO_URL": "https://e.org/r.git",
            "GIT_BRANCH": "live",
            "GIT_SYNC_INTERVAL": "30",
            "PIPELINES_SUBDIR": "/a/b/",
        },
    )
    assert (settings.git_branch, settings.git_sync_interval_s, settings.subdir) == ("live", 30.0, "a/b")
    with pytest.raises(BadSettings, match="PIPELINES_SUBDIR"):
        _ = SyncerSettings(pipelines_subdir="../up").subdir
    assert SyncerSettings(pipelines_dir="/p", pipelines_subdir="x").root.as_posix() == "/p/x"
