"""The data folder of one installation: one process at a time, and a token that stays the same."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from fastflow.errors import BadUsage
from fastflow.local.data_dir import InUse, held, login_token


def test_a_second_process_learns_who_has_the_lock(tmp_path: Path) -> None:
    """The error names the process and what to do."""
    with held(tmp_path), pytest.raises(InUse, match=rf"process {os.getpid()}: .*--data-dir"), held(tmp_path):
        pass


def test_an_orderly_end_leaves_no_lock_file(tmp_path: Path) -> None:
    """And the folder can be locked again."""
    for _ in range(2):
        with held(tmp_path / "data"):
            assert (tmp_path / "data" / "up.pid").read_text() == f"{os.getpid()}\n"
        assert not (tmp_path / "data" / "up.pid").exists()


def test_a_killed_process_leaves_no_lock(tmp_path: Path) -> None:
    """Its file stays, but the lock is free."""
    imports = "import os, sys, pathlib; from fastflow.local.data_dir import held"
    code = f"{imports}; h = held(pathlib.Path(sys.argv[1])); h.__enter__()"
    subprocess.run([sys.executable, "-c", f"{code}; os._exit(9)", str(tmp_path)], check=False)
    assert (tmp_path / "up.pid").exists()
    with held(tmp_path):
        pass


def test_a_folder_that_cannot_be_created_is_an_error(tmp_path: Path) -> None:
    """The user has to move the file in its place."""
    (tmp_path / "file").write_text("")
    with pytest.raises(BadUsage, match="--data-dir"), held(tmp_path / "file"):
        pass


def test_the_folder_keeps_itself_out_of_git(tmp_path: Path) -> None:
    """It contains credentials."""
    with held(tmp_path):
        assert (tmp_path / ".gitignore").read_text() == "*\n"


def test_the_token_is_created_once_and_only_for_its_owner(tmp_path: Path) -> None:
    """Bookmarks stay valid, and other users of the machine cannot read it."""
    token = login_token(tmp_path)
    assert len(token) >= 32
    assert login_token(tmp_path) == token
    assert (tmp_path / "token").stat().st_mode & 0o777 == 0o600
