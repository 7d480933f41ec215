"""Settings of the syncer, from its environment. No I/O."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from fastflow_contracts.pipelines import bundle
from fastflow_contracts.service.settings import BadSettings, Env, ServiceSettings


class Settings(ServiceSettings, frozen=True, kw_only=True):
    """Defaults are those of a laptop: a folder ``pipelines`` where the process was started."""

    pipelines_dir: Annotated[
        str, Env("PIPELINES_DIR", "Folder of the pipelines; watched. Not used with GIT_REPO_URL.")
    ] = "pipelines"
    git_repo_url: Annotated[
        str, Env("GIT_REPO_URL", "Repository of the pipelines: https, ssh or file, without credentials.")
    ] = ""
    git_branch: Annotated[str, Env("GIT_BRANCH", "Branch that is live.")] = "main"
    pipelines_subdir: Annotated[
        str, Env("PIPELINES_SUBDIR", "Folder inside the repository or PIPELINES_DIR that holds the pipelines.")
    ] = ""
    git_sync_interval_s: Annotated[
        float, Env("GIT_SYNC_INTERVAL", "Seconds between looks at the branch; 0 = only when asked.", least=0)
    ] = 60.0
    git_username: Annotated[str, Env("GIT_USERNAME", "User that belongs to GIT_TOKEN; most hosts take any.")] = (
        "x-access-token"
    )
    git_token: Annotated[str, Env("GIT_TOKEN", "Token or password for an https repository.", secret=True)] = ""
    git_ssh_key: Annotated[
        str, Env("GIT_SSH_KEY", "Private key without passphrase for an ssh repository.", secret=True)
    ] = ""
    git_ssh_known_hosts: Annotated[
        str, Env("GIT_SSH_KNOWN_HOSTS", "Key of the ssh host, as `ssh-keyscan` prints it.")
    ] = ""

    @property
    def subdir(self) -> str:
        """``pipelines_subdir`` as a relative path without slashes at its ends. Raises ``BadSettings``."""
        path = self.pipelines_subdir.strip("/")
        if path and (reason := bundle.unsafe(path)) is not None:
            raise BadSettings(f"PIPELINES_SUBDIR {bundle.shown(path)!r} {reason}.")
        return path

    @property
    def root(self) -> Path:
        """The folder of pipelines where there is no repository."""
        return Path(self.pipelines_dir).absolute() / self.subdir
