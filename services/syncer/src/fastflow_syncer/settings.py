"""Settings of the syncer, from its environment. No I/O."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from fastflow_contracts.limit_settings import LimitSettings
from fastflow_contracts.pipelines.folder import bundle
from fastflow_contracts.pipelines.folder.limits import CEILING, DEFAULT, FolderLimits
from fastflow_contracts.pipelines.folder.origins import ALLOWED_HELP, ALLOWED_LIKE, ALLOWED_PATTERN, allowed_of
from fastflow_contracts.service.settings import BadSettings, Env
from fastflow_syncer.bundle_room import PIPELINE_BYTES_MAX
from fastflow_syncer.versions import KEPT_MAX, VERSIONS_MAX


class SyncerSettings(LimitSettings, frozen=True, kw_only=True):
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
        float,
        Env(
            "GIT_SYNC_INTERVAL",
            "Seconds between fetches of the branch; 0 = only on request.",
            least=0,
            also="AUTO_SYNC_INTERVAL",
        ),
    ] = 60.0
    allowed_indexes: Annotated[
        str, Env("FASTFLOW_ALLOWED_INDEXES", ALLOWED_HELP, pattern=ALLOWED_PATTERN, like=ALLOWED_LIKE)
    ] = ""
    auto_sync: Annotated[
        bool,
        Env(
            "AUTO_SYNC_ENABLED",
            "Fetch the branch by itself. no = only on request; GIT_SYNC_INTERVAL has no effect.",
        ),
    ] = True
    git_username: Annotated[str, Env("GIT_USERNAME", "User of GIT_TOKEN; most hosts accept any.")] = "x-access-token"
    git_token: Annotated[
        str, Env("GIT_TOKEN", "Token or password for an https repository.", secret=True, also="GIT_SYNC_TOKEN")
    ] = ""
    git_ssh_key: Annotated[
        str,
        Env(
            "GIT_SSH_KEY",
            "Private key without passphrase for an ssh repository.",
            secret=True,
            also="GIT_SYNC_DEPLOY_KEY",
        ),
    ] = ""
    git_ssh_known_hosts: Annotated[
        str, Env("GIT_SSH_KNOWN_HOSTS", "Key of the ssh host, as `ssh-keyscan` prints it.")
    ] = ""
    folder_files_max: Annotated[
        int,
        Env(
            "FASTFLOW_FOLDER_FILES_MAX",
            f"Most files of a pipeline's folder, at most {CEILING.files}.",
            least=1,
            most=CEILING.files,
        ),
    ] = DEFAULT.files
    folder_file_bytes_max: Annotated[
        int,
        Env(
            "FASTFLOW_FOLDER_FILE_BYTES_MAX",
            f"Largest file of a pipeline's folder in bytes, at most {CEILING.file_bytes}.",
            least=1,
            most=CEILING.file_bytes,
        ),
    ] = DEFAULT.file_bytes
    folder_bytes_max: Annotated[
        int,
        Env(
            "FASTFLOW_FOLDER_BYTES_MAX",
            f"Most bytes of all files of a pipeline's folder, at most {CEILING.total_bytes}.",
            least=1,
            most=CEILING.total_bytes,
        ),
    ] = DEFAULT.total_bytes
    pipeline_bundles_bytes_max: Annotated[
        int,
        Env(
            "FASTFLOW_PIPELINE_BUNDLES_BYTES_MAX",
            "Most bytes that the stored versions of one pipeline may take while the store of bundles (4 GiB) is more "
            "than half full; those that nothing needs go first.",
            least=1,
        ),
    ] = PIPELINE_BYTES_MAX

    pipeline_versions_max: Annotated[
        int,
        Env(
            "FASTFLOW_PIPELINE_VERSIONS_MAX",
            "How many versions of a pipeline stay listed and can be started or pinned; besides, those that are live, "
            "pinned, or the way back.",
            least=1,
            most=VERSIONS_MAX,
        ),
    ] = KEPT_MAX

    @property
    def folder_limits(self) -> FolderLimits:
        """The most that one folder may hold."""
        return FolderLimits(
            files=self.folder_files_max,
            file_bytes=self.folder_file_bytes_max,
            total_bytes=self.folder_bytes_max,
            allowed_indexes=allowed_of(self.allowed_indexes),
        )

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
