"""A downloaded file lands below its folder, whole, and nowhere else."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from fastflow.errors import CliError
from fastflow.local.downloads import save
from fastflow_contracts.runs.artifacts.manifest import BadArtifact

DATA = b"new"


async def pieces() -> AsyncIterator[bytes]:
    yield DATA[:1]
    yield DATA[1:]


async def saved(folder: Path, path: str, *, replace: bool = False, sha256: str = "") -> None:
    await save(folder, path, pieces(), sha256=sha256 or hashlib.sha256(DATA).hexdigest(), replace=replace)


@pytest.mark.parametrize("path", ["a.csv", "deep/er/a.csv", "Screenshot 9.41\u202fAM.png", "-rf", "a\\b", "土"])
async def test_a_file_is_written_below_the_folder(tmp_path: Path, path: str) -> None:
    await saved(tmp_path / "out", path)
    assert (tmp_path / "out" / path).read_bytes() == DATA
    assert [each for each in tmp_path.rglob("*") if each.is_file()] == [tmp_path / "out" / path]


@pytest.mark.parametrize("path", ["../a", "/etc/a", "a/../../a", "", ".", "a//b", "a\nb"])
async def test_a_path_that_leads_out_is_refused(tmp_path: Path, path: str) -> None:
    with pytest.raises(BadArtifact):
        await saved(tmp_path / "out", path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("replace", [False, True])
async def test_no_link_is_followed(tmp_path: Path, *, replace: bool) -> None:
    out, other = tmp_path / "out", tmp_path / "other"
    out.mkdir()
    other.mkdir()
    (other / "a").write_bytes(b"old")
    (out / "folder").symlink_to(other)
    (out / "a").symlink_to(other / "a")
    with pytest.raises(CliError, match="link"):
        await saved(out, "folder/a", replace=replace)
    if replace:
        await saved(out, "a", replace=True)
        assert (out / "a").read_bytes() == DATA
        assert not (out / "a").is_symlink()
    else:
        with pytest.raises(CliError, match="exists"):
            await saved(out, "a")
    assert (other / "a").read_bytes() == b"old"


async def test_a_file_that_exists_stays_unless_it_is_to_be_replaced(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"old")
    with pytest.raises(CliError, match="--force"):
        await saved(tmp_path, "a")
    assert (tmp_path / "a").read_bytes() == b"old"
    await saved(tmp_path, "a", replace=True)
    assert (tmp_path / "a").read_bytes() == DATA


async def test_a_damaged_download_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(CliError, match="damaged"):
        await saved(tmp_path, "a", sha256="0" * 64)
    assert list(tmp_path.iterdir()) == []


async def test_a_file_where_a_folder_is_needed_stays(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"old")
    with pytest.raises(CliError, match="no folder"):
        await saved(tmp_path, "a/b", replace=True)
    assert (tmp_path / "a").read_bytes() == b"old"
