"""What the documents show is accepted, what they name is there, and what they list is complete."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from cryptography.fernet import Fernet
from msgspec.structs import replace

from fastflow_contracts.pipelines.manifest import read_manifest
from fastflow_contracts.runs.run import RunInput, Running
from fastflow_runner.attempts.job import EVENT_FILE, environment
from tests.support.records import a_run, at

ROOT = Path(__file__).parents[3]
DOCUMENTS = [ROOT / "README.md", ROOT / "ARCHITECTURE.md", *sorted(ROOT.glob("docs/*.md")), ROOT / "deploy/README.md"]
PAGE = (ROOT / "docs/pipelines.md").read_text()


@pytest.mark.parametrize("example", re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL))
def test_every_example_of_metadata_is_accepted(example: str) -> None:
    """Without a problem and without a notice, once its tokens are real."""
    text = example.replace("gAAAA…", Fernet(Fernet.generate_key()).encrypt(b"x").decode())
    manifest = read_manifest(text.encode(), file_name="pipeline.json")
    assert manifest.problems == ()
    assert manifest.notices == ()


def test_every_variable_of_a_run_is_listed() -> None:
    """Those that the runner sets, and no other."""
    run = a_run()
    running = replace(run, state=Running(attempt=1, runner="r1", epoch=1, claimed_at=at(0)))
    told = environment(running, RunInput(), {}, python=None)
    assert set(re.findall(r"^\| `(FASTFLOW_\w+)`", PAGE, re.MULTILINE)) == {*told, EVENT_FILE}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_whatever_is_linked_or_named_is_there(document: Path) -> None:
    """Files of this repository, as links from the document and as paths from the root."""
    text = document.read_text()
    links = re.findall(r"\]\((?!https?://)([^)#]+)[^)]*\)", text)
    assert [link for link in links if not (document.parent / link).exists()] == []
    paths = re.findall(r"`((?:[\w.-]+/)+[\w.-]+\.(?:py|lock|md|yaml))`", text)
    assert [path for path in paths if not (ROOT / path).exists() and not (document.parent / path).exists()] == []
