"""Settings of the syncer, from its environment. No I/O."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from fastflow_contracts.pipelines.folder import bundle
from fastflow_contracts.service.settings import BadSettings, Env, ServiceSettings


class SyncerSettings(ServiceSettings, frozen=True, kw_only=True):
    """Settings of the syncer. The defaults suit a laptop: the folder ``pipelines`` in the working directory."""

    pipelines_dir: Annotated[
        str, Env("PIPELINES_DIR", "Folder of the pipelines, watched for changes. Ignored with GIT_REPO_URL.")
    ] = "pipelines"
    git_repo_url: Annotated[
        str, Env("GIT_REPO_URL", "Repository of the pipelines: https, ssh or file, without credentials.")
    ] = ""
    git_branch: Annotated[str, Env("GIT_BRANCH", "Branch of the pipelines.")] = "main"
    pipelines_subdir: Annotated[
        str, Env("PIPELINES_SUBDIR", "Folder inside the repository or PIPELINES_DIR that holds the pipelines.")
    ] = ""
    git_sync_interval_s: Annotated[
        float, Env("GIT_SYNC_INTERVAL", "Seconds between fetches of the branch; 0 = only on request.", least=0)
    ] = 60.0
    git_username: Annotated[str, Env("GIT_USERNAME", "User of GIT_TOKEN; most hosts accept any.")] = "x-access-token"
    git_token: Annotated[str, Env("GIT_TOKEN", "Token or password for an https repository.", secret=True)] = ""
    git_ssh_key: Annotated[
        str, Env("GIT_SSH_KEY", "Private key without passphrase for an ssh repository.", secret=True)
    ] = ""
    git_ssh_known_hosts: Annotated[
        str, Env("GIT_SSH_KNOWN_HOSTS", "Key of the ssh host, as `ssh-keyscan` prints it.")
    ] = ""

    @property
    def subdir(self) -> str:
        """``pipelines_subdir`` as a relative path without slashes at its ends.

        Raises:
            BadSettings: The path is unsafe.
        """
        path = self.pipelines_subdir.strip("/")
        if path and (reason := bundle.unsafe(path)) is not None:
            raise BadSettings(f"PIPELINES_SUBDIR {bundle.shown(path)!r} {reason}.")
        return path

    @property
    def root(self) -> Path:
        """The folder of the pipelines, when there is no repository."""
        return Path(self.pipelines_dir).absolute() / self.subdir
