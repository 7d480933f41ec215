"""Examples in the documents are accepted, links and names exist, and lists are complete."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from cryptography.fernet import Fernet
from msgspec.structs import replace

from fastflow_contracts.pipelines.format.manifest import read_manifest
from fastflow_contracts.runs.run import RunInput, Running
from fastflow_runner.attempts.job import (
    ARTIFACTS_DIR,
    EVENT_FILE,
    EVENT_HEADERS_FILE,
    RESULT_FILE,
    ROUTE_FILE,
    STATE_DIR,
    environment,
)
from tests.support.records import a_run, at

ROOT = Path(__file__).parents[3]
FOLDERS = ("", "docs/", "docs/adr/", "deploy/", "bench/", "cli/", "libs/*/", "services/*/")
DOCUMENTS = [path for folder in FOLDERS for path in sorted(ROOT.glob(f"{folder}*.md"))]
PROJECTS = sorted([*ROOT.glob("*/pyproject.toml"), *ROOT.glob("*/*/pyproject.toml")])
DISTRIBUTIONS = [path.parent for path in PROJECTS if "readme" in tomllib.loads(path.read_text())["project"]]
SOURCES = [package for path in PROJECTS for package in path.parent.glob("src/*")]
PAGE = (ROOT / "docs/pipelines.md").read_text()


@pytest.mark.parametrize("example", re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL))
def test_every_example_of_metadata_is_accepted(example: str) -> None:
    """Without a problem and without a warning, once its tokens are real."""
    text = example.replace("gAAAA…", Fernet(Fernet.generate_key()).encrypt(b"x").decode())
    manifest = read_manifest(text.encode(), file_name="pipeline.json")
    assert manifest.problems == ()
    assert manifest.notices == ()


def test_every_variable_of_a_run_is_listed() -> None:
    """Exactly those that the runner sets."""
    run = a_run()
    running = replace(run, state=Running(attempt=1, runner="r1", epoch=1, claimed_at=at(0)))
    told = environment(running, RunInput(), {})
    files = {ARTIFACTS_DIR, EVENT_FILE, EVENT_HEADERS_FILE, RESULT_FILE, ROUTE_FILE, STATE_DIR}
    assert set(re.findall(r"^\| `(FASTFLOW_\w+)`", PAGE, re.MULTILINE)) == {*told, *files}


def _anchors(document: Path) -> set[str]:
    """Return the possible link targets in *document*: its headings, written as addresses."""
    headings = re.findall(r"^#+ (.*)$", document.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_linked_and_named_files_exist(document: Path) -> None:
    """Files of this repository, as links, and as paths from the root or a package; and the headings of links."""
    text = document.read_text()
    links = re.findall(r"\]\((?!https?://)([^)#]*)(?:#([^)]+))?\)", text)
    assert [link for link, _ in links if not (document.parent / link).exists()] == []
    targets = [(document.parent / link if link else document, anchor) for link, anchor in links if anchor]
    assert [anchor for target, anchor in targets if anchor not in _anchors(target)] == []
    paths = re.findall(r"`((?:[\w.-]+/)+[\w.-]+\.(?:py|lock|md|yaml))`", text)
    roots = [ROOT, document.parent, *SOURCES]
    assert [path for path in paths if not any((root / path).exists() for root in roots)] == []


@pytest.mark.parametrize("distribution", DISTRIBUTIONS, ids=lambda path: path.name)
def test_the_readme_of_a_distribution_names_its_packages(distribution: Path) -> None:
    """All of them and no others, so that a reader finds each sub-package on the map."""
    (source,) = (distribution / "src").iterdir()
    packages = {path.parent.name for path in source.glob("*/__init__.py")}
    drawn = re.findall(r"^  (\w+)/ ", (distribution / "README.md").read_text(), re.MULTILINE)
    assert set(drawn) >= packages
    assert {name for name in drawn if not (source / name).is_dir()} == set()


def test_decisions_are_numbered_and_listed() -> None:
    """Without a gap; the list of documents has each by its title, and each states the decision and its consequences."""
    files = sorted(ROOT.glob("docs/adr/*.md"))
    assert [path.name[:4] for path in files] == [f"{number:04}" for number in range(1, len(files) + 1)]
    listed = []
    for path in files:
        text = path.read_text()
        number, _, title = text.splitlines()[0].removeprefix("# ").partition(". ")
        listed.append(f"{number}. [{title}](adr/{path.name})")
        assert number == str(int(path.name[:4]))
        assert re.findall(r"\*\*(Context|Decision|Consequences)\.\*\*", text) == ["Context", "Decision", "Consequences"]
    assert re.findall(r"^\d+\. .*$", (ROOT / "docs/README.md").read_text(), re.MULTILINE) == listed


def _shortened(path: str) -> Path:
    """Return the path that CONTRIBUTING writes as ``services/gateway/…/api``."""
    start, end = path.split("…")
    (source,) = (ROOT / start / "src").iterdir()
    return source / end.strip("/")


def test_everyday_changes_begin_where_they_are_said_to() -> None:
    """Every folder and file in the table of CONTRIBUTING exists, and each file in the folder that is opened first."""
    text = (ROOT / "CONTRIBUTING.md").read_text()
    rows = [row.split("|")[1:-1] for row in re.findall(r"^\|.*`[^`]*….*\|$", text, re.MULTILINE)]
    assert len(rows) == 10
    paths = [_shortened(path) for row in rows for path in re.findall(r"`([^`]*…[^`]*)`", "".join(row))]
    for _, folder, files, _ in rows:
        paths += [_shortened(folder.split("`")[1]) / file for file in re.findall(r"`([^`]+)`", files)]
    assert [path for path in paths if not path.exists()] == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_decisions_are_cited_by_their_numbers(document: Path) -> None:
    """The number in the text is that of the linked file."""
    cited = re.findall(r"\[decision (\d+)\]\([^)]*?(\d{4})-", document.read_text())
    assert [(number, file) for number, file in cited if int(number) != int(file)] == []
