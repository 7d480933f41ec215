"""What the supervisor lets out of the sandbox under a name, the store takes under this name."""

from __future__ import annotations

from pathlib import Path

import pytest

from fastflow_contracts.runs.artifacts.manifest import ARTIFACTS_MAX, PATH_BYTES_MAX, BadArtifact, check_path
from fastflow_runner.guest.supervisor.collection import Collection
from fastflow_runner.guest.supervisor.delivery import FOLDERS

EACH_LETTER = (*range(1, 0x300), *range(0x1680, 0x1690), *range(0x2000, 0x2070), 0x3000, 0xE000, 0xFEFF, 0xFFFE, 0xFFFF)
LETTERS = [chr(code) for code in (*EACH_LETTER, 0x1F600, 0xE0001, 0x10FFFF) if chr(code) != "/"]
BACK = {"depth_max": 32, "path_bytes_max": PATH_BYTES_MAX, "files_max": ARTIFACTS_MAX * 100, "bytes_max": 2**30}


def is_accepted(path: str) -> bool:
    try:
        return check_path(path) == path
    except BadArtifact:
        return False


def test_the_store_takes_exactly_the_names_that_come_out(tmp_path: Path) -> None:
    folder = tmp_path / FOLDERS / "artifacts"
    folder.mkdir(parents=True)
    for letter in LETTERS:
        (folder / f"a{letter}b").touch()
    out = Collection([{"name": "artifacts", "back": BACK}], str(tmp_path)).listing["artifacts"]
    names = {file["path"] for file in out["files"]}
    assert names == {f"a{letter}b" for letter in LETTERS if is_accepted(f"a{letter}b")}
    assert len(names) + out["problems_total"] == len(LETTERS)


@pytest.mark.parametrize("name", ["Screenshot 9.41\u202fAM.png", "a\u00a0b", "\u3000", "\u200b", "\u00ad", "e\u0301"])
def test_a_space_of_any_kind_may_be_in_a_name(name: str) -> None:
    assert check_path(name) == name


@pytest.mark.parametrize("name", ["a\u2028b", "a\u2029b", "a\x85b", "a\x9bb", "a\x7fb", "a\tb"])
def test_what_ends_a_line_or_controls_a_terminal_is_refused(name: str) -> None:
    with pytest.raises(BadArtifact, match="control characters"):
        check_path(name)
