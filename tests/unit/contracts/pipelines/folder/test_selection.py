"""Which files of a folder are read."""

from __future__ import annotations

import pytest

from fastflow_contracts.pipelines.folder.bundle import Refusal
from fastflow_contracts.pipelines.folder.selection import plan, skipped


@pytest.mark.parametrize(
    ("path", "gone"),
    [
        ("main.py", False),
        (".env.example", False),
        ("lib/x.py", False),
        ("data~set/x", False),
        (".dlt/config.toml", False),
        ("app/.streamlit/config.toml", False),
        (".dlt/.sources.swp", True),
        (".venv/bin/python", True),
        (".fastflow/admin-token", True),
        ("a/__pycache__/x", True),
        ("a/.git/config", True),
        (".git", True),
        ("main.py~", True),
        (".main.py.swp", True),
        ("#main.py#", True),
        (".#main.py", True),
        ("x.pyc", True),
        (".DS_Store", True),
    ],
)
def test_caches_and_editor_files_are_left_out(path: str, gone: bool) -> None:
    """Environments too; everything else is in the bundle."""
    assert skipped(path) is gone


def test_of_a_refused_folder_only_entry_and_metadata_are_read() -> None:
    """Small files at the top; nothing else."""
    sizes = {"main.py": 9, "pipeline.json": 9, "etl.json": 2_000_000, "lib/x.json": 9, "data.csv": 9}
    planned = plan(sizes, (Refusal("passwd", "is a link"),))
    assert planned.paths == ("main.py", "pipeline.json")
    assert plan(sizes, ()).paths == tuple(sorted(sizes))
