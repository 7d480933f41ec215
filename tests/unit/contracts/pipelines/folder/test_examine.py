"""What is found in a folder: a version, problems, or no pipeline at all."""

from __future__ import annotations

import msgspec
import pytest

from fastflow_contracts.pipelines.folder.bundle import File, Refusal
from fastflow_contracts.pipelines.folder.examine import examine
from fastflow_contracts.pipelines.folder.selection import Folder


def test_examining_a_good_folder_packs_it() -> None:
    """The version has the bundle's name."""
    examined = examine("etl", Folder({"main.py": File(b"x"), "requirements.txt": File(b"")}), is_known=False)
    assert examined is not None
    assert examined.bundle is not None
    assert examined.found.version is not None
    assert examined.found.version.bundle == examined.bundle.sha256
    assert examined.found.version.has_requirements


@pytest.mark.parametrize("files", [{}, {"README.md": b""}, {"lib/main.py": b""}])
def test_a_folder_without_an_entry_is_not_a_pipeline(files: dict[str, bytes]) -> None:
    """With any other content, and with any problem."""
    folder = Folder({path: File(data) for path, data in files.items()})
    assert examine("etl", folder, is_known=True) is None
    refused = msgspec.structs.replace(folder, refusals=(Refusal("passwd", "is a link"),))
    assert examine("etl", refused, is_known=False) is None


def test_refusals_become_problems_and_never_a_bundle() -> None:
    """A folder with a link is a pipeline with a problem that names it."""
    examined = examine("etl", Folder({"main.py": File(b"")}, (Refusal("a/b", "is a link"),)), is_known=False)
    assert examined is not None
    assert examined.bundle is None
    assert [str(problem) for problem in examined.found.problems] == ["a/b: is a link"]


@pytest.mark.parametrize(("path", "is_known"), [("main.py", False), ("", True), ("data", True)])
def test_a_pipeline_that_cannot_be_read_is_not_removed(path: str, is_known: bool) -> None:
    """A known pipeline, or a folder whose entry is a link, is listed with problems."""
    examined = examine("etl", Folder({}, (Refusal(path, "is a link"),)), is_known=is_known)
    assert examined is not None
    assert len(examined.found.problems) == 1


def test_a_folder_with_an_invalid_name_is_listed_and_not_live() -> None:
    """The reason is among the problems."""
    examined = examine("no spaces", Folder({"main.py": File(b"")}), is_known=False)
    assert examined is not None
    assert (examined.bundle, examined.found.version, examined.found.name) == (None, None, "no spaces")
    assert "rename" in str(examined.found.problems[0])
